// The other end of an HTTP connection, byte by byte. Thread rule: one thread.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

namespace r1::dashboard {

class Client {
 public:
  explicit Client(int port, int receive_bytes = 0) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_bytes > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    const timeval limit{10, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  bool send(const std::string& text) { return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == std::ssize(text); }
  // What is there within `ms`; "" for silence. `over()` after it: the peer has closed.
  std::string some(int ms) {
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, ms) <= 0) return "";
    std::string text(1 << 16, '\0');
    const ssize_t n = ::recv(fd_, text.data(), text.size(), 0);
    over_ = n <= 0;
    text.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return text;
  }
  bool over() const { return over_; }
  // All until the peer closes, or ten seconds pass in silence.
  std::string all() {
    std::string text;
    for (std::string more; !(more = some(10'000)).empty();) text += more;
    return text;
  }

 private:
  int fd_ = -1;
  bool connected_ = false, over_ = false;
};

inline std::string get(int port, const std::string& target, const std::string& headers = "",
                       const std::string& host = "localhost") {
  Client client(port);
  client.send("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + headers + "\r\n");
  return client.all();
}

}  // namespace r1::dashboard
