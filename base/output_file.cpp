#include "base/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace r1 {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void refuse_output(const char* what, const fs::path& path) {
  const int error = errno;
  throw failure(std::string(what) + ": " + std::strerror(error), {path.string()}, no_space_hint(error));
}

}  // namespace

OutputFile::OutputFile(const fs::path& path) : path_(behind_links(path)) {
  std::error_code none;
  const auto kind = fs::status(path_, none).type();
  const bool file = kind == fs::file_type::regular || kind == fs::file_type::not_found;
  written_ = file ? fs::path(path_.string() + ".partial") : path_;
  const bool forbidden = kind == fs::file_type::regular && ::access(path_.c_str(), W_OK) != 0;
  if (!forbidden) fd_ = ::open(written_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) throw bad_input(std::string("cannot be written: ") + std::strerror(errno), {path.string()});
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  if (empty_ && written_ != path_) ::unlink(written_.c_str());
}

void OutputFile::write(std::string_view bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::write(fd_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) refuse_output("cannot be written to any more", written_);
    done += static_cast<size_t>(n);
    empty_ = false;
  }
}

void OutputFile::finish() {
  const bool file = written_ != path_;
  if (file && ::fsync(fd_) != 0) refuse_output("cannot be synced", written_);
  if (::close(std::exchange(fd_, -1)) != 0) refuse_output("cannot be closed", written_);
  if (file && ::rename(written_.c_str(), path_.c_str()) != 0) refuse_output("cannot be put in its place", path_);
}

}  // namespace r1
