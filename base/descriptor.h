// A file descriptor that is closed with its owner. Errors of close() are lost: for sockets and what was only read, not for
// files that were written (base/output_file.h). Thread rule: one owner at a time.
#pragma once

#include <unistd.h>

#include <utility>

namespace r1 {

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }  // the caller closes it now

 private:
  int fd_;
};

}  // namespace r1
