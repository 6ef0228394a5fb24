// Where the shell's socket of a run directory is. A unix socket's address has room for 107 characters, a run directory may have
// more: so the address goes through /proc/self/fd.
// Thread rule: pure functions but for the file system.
#pragma once

#include <sys/un.h>

#include <filesystem>

namespace r1 {

inline std::filesystem::path shell_directory(const std::filesystem::path& run_dir) { return run_dir / "shell"; }

// RUN_DIR/shell opened: its address holds as long as this lives. fd < 0: not there, errno says why.
class ShellDirectory {
 public:
  explicit ShellDirectory(const std::filesystem::path& run_dir);
  ~ShellDirectory();
  ShellDirectory(const ShellDirectory&) = delete;
  ShellDirectory& operator=(const ShellDirectory&) = delete;
  int fd() const { return fd_; }
  sockaddr_un address() const;  // of the socket in it

 private:
  int fd_ = -1;
};

}  // namespace r1
