#include "actors/sequence_spool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "actors/codec.h"
#include "base/error.h"
#include "base/files.h"

namespace r1 {

namespace fs = std::filesystem;

constexpr size_t kSpoolBuffer = size_t{1} << 20;

SequenceSpool::SequenceSpool(const fs::path& name) : name_(name) {
  fs::create_directories(name.parent_path());
  fd_ = ::open(name.parent_path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd_ < 0) {
    const fs::path temporary = temporary_beside(name);
    fd_ = ::open(temporary.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd_ >= 0) ::unlink(temporary.c_str());
  }
  if (fd_ < 0)
    throw failure(fmt::format("cannot create a temporary file: {}", std::strerror(errno)), {name.parent_path().string()},
                  no_space_hint(errno));
}

SequenceSpool::~SequenceSpool() { ::close(fd_); }

void SequenceSpool::append(const Sequence& sequence) {
  buffer_ += encode_sequence(sequence);
  ends_.push_back(written_ + buffer_.size());
  if (buffer_.size() >= kSpoolBuffer) write_buffer();
}

void SequenceSpool::write_buffer() {
  for (size_t done = 0; done < buffer_.size();) {
    const ssize_t n = ::pwrite(fd_, buffer_.data() + done, buffer_.size() - done, static_cast<off_t>(written_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      throw failure(fmt::format("cannot keep the stage's examples on disk: {}", std::strerror(errno)), {name_.string()},
                    no_space_hint(errno));
    done += static_cast<size_t>(n);
  }
  written_ += buffer_.size();
  buffer_.clear();
}

Sequence SequenceSpool::read(int64_t index) const {
  R1_CHECK(index >= 0 && index < size(), fmt::format("example {} of {}", index, size()));
  const auto at = static_cast<size_t>(index);
  const uint64_t begin = at == 0 ? 0 : ends_[at - 1];
  std::string bytes(ends_[at] - begin, '\0');
  if (begin >= written_) {  // no example is split between file and buffer
    bytes = buffer_.substr(begin - written_, bytes.size());
    return decode_sequence(bytes);
  }
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::pread(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(begin + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      throw failure(fmt::format("cannot read the stage's examples back: {}", n < 0 ? std::strerror(errno) : "the file ends"),
                    {name_.string()});
    done += static_cast<size_t>(n);
  }
  return decode_sequence(bytes);
}

}  // namespace r1
