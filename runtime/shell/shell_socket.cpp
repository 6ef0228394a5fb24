#include "runtime/shell/shell_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>

namespace r1 {

ShellDirectory::ShellDirectory(const std::filesystem::path& run_dir)
    : fd_(::open(shell_directory(run_dir).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) {}

ShellDirectory::~ShellDirectory() {
  if (fd_ >= 0) ::close(fd_);
}

sockaddr_un ShellDirectory::address() const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/socket", fd_);
  return address;
}

}  // namespace r1
