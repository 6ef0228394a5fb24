// Ports of loopback for tests that have to name one. Whoever can lets the system choose when it listens.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>

namespace r1::test {

inline sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A port that nobody has now, nor the one after it.
inline int free_port() {
  for (int tries = 0; tries < 100; ++tries) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0), next = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int port = 0;
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0)
      port = ntohs(address.sin_port);
    const sockaddr_in after = loopback(port + 1);
    const bool both = port > 0 && port < 65535 && ::bind(next, reinterpret_cast<const sockaddr*>(&after), sizeof after) == 0;
    ::close(fd);
    ::close(next);
    if (both) return port;
  }
  return 0;
}

}  // namespace r1::test
