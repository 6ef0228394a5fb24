#include "base/file_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/files.h"

namespace r1 {

FileReader::FileReader(const std::filesystem::path& path) : path_(path) {
  // O_NONBLOCK: opening a pipe that nobody writes to would wait for ever. It means nothing for regular files.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0 && errno == ENOENT) throw bad_input("no such file", {path.string()});
  if (fd_ < 0) refuse_file("open", path);
  struct stat st {};
  const bool known = ::fstat(fd_, &st) == 0, regular = known && S_ISREG(st.st_mode);
  if (regular) {
    size_ = static_cast<uint64_t>(st.st_size);
    return;
  }
  const int error = errno;
  ::close(fd_);
  errno = error;
  if (!known) refuse_file("stat", path);
  throw bad_input("not a regular file", {path.string()});
}

FileReader::~FileReader() { ::close(fd_); }

void FileReader::read(uint64_t offset, void* out, size_t bytes) const {
  R1_CHECK(offset <= size_ && bytes <= size_ - offset, fmt::format("{}: {} bytes at {}", path_.string(), bytes, offset));
  auto* to = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t n = ::pread(fd_, to, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) refuse_file("read", path_);
    if (n == 0) throw failure("the file became shorter while it was read", {path_.string()});
    to += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<size_t>(n);
  }
}

}  // namespace r1
