// Between a node and its head: two ports that pass on to two others, as a link's two connections need. What passes may be held
// up in one direction or both - nothing is lost, as when a cable is out for a while - and connections may be reset.
// Thread rule: constructor and destructor by one thread; the rest by any.
#pragma once

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "tests/own_sshd.h"

namespace r1::test {

class TcpProxy {
 public:
  explicit TcpProxy(int to) : port(free_port()), to_(to) {
    for (int i = 0; i < 2; ++i) {
      listening_[i] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const int yes = 1;
      ::setsockopt(listening_[i], SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
      const sockaddr_in address = loopback(port + i);
      if (::bind(listening_[i], reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) ok_ = false;
      ::listen(listening_[i], 16);
    }
    thread_ = std::thread([this] { run(); });
  }
  ~TcpProxy() {
    over_ = true;
    thread_.join();
    for (const int fd : listening_) ::close(fd);
    for (const Pair& pair : pairs_) close(pair);
  }
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  bool ok() const { return ok_; }
  void hold(bool to_head, bool to_node) {
    held_[0] = to_head;
    held_[1] = to_node;
  }
  void reset() { reset_ = true; }

  const int port;

 private:
  struct Pair {
    int fd[2] = {-1, -1};  // the node's, the head's
    std::string waits[2];  // read from fd[i], for the other
    bool over = false;
  };
  static void close(const Pair& pair) {
    for (const int fd : pair.fd) {
      const linger now{1, 0};
      ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
      ::close(fd);
    }
  }
  void accept(int which) {
    Pair pair;
    pair.fd[0] = ::accept4(listening_[which], nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (pair.fd[0] < 0) return;
    pair.fd[1] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(to_ + which);
    if (::connect(pair.fd[1], reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return close(pair);
    const int yes = 1;
    for (const int fd : pair.fd) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    pairs_.push_back(std::move(pair));
  }
  // What is at fd[from] goes to the other one, as far as there is room.
  void pass(Pair& pair, int from) {
    std::string& waits = pair.waits[from];
    char bytes[65536];
    while (waits.size() < (size_t{1} << 20)) {
      const ssize_t n = ::recv(pair.fd[from], bytes, sizeof bytes, MSG_DONTWAIT);
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) pair.over = true;
      if (n <= 0) break;
      waits.append(bytes, static_cast<size_t>(n));
    }
    if (held_[from]) {
      pair.over = false;  // nobody hears of the end of what is held up
      return;
    }
    const ssize_t n = ::send(pair.fd[1 - from], waits.data(), waits.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) waits.erase(0, static_cast<size_t>(n));
    if (n < 0 && errno != EAGAIN && errno != EINTR) pair.over = true;
  }
  void run() {
    while (!over_) {
      pollfd fds[2] = {{listening_[0], POLLIN, 0}, {listening_[1], POLLIN, 0}};
      ::poll(fds, 2, 2);
      for (int i = 0; i < 2; ++i)
        if (fds[i].revents != 0) accept(i);
      const bool all_over = reset_.exchange(false);
      for (auto pair = pairs_.begin(); pair != pairs_.end();) {
        for (int from = 0; from < 2; ++from) pass(*pair, from);
        if (!pair->over && !all_over) {
          ++pair;
          continue;
        }
        close(*pair);
        pair = pairs_.erase(pair);
      }
    }
  }

  const int to_;
  bool ok_ = true;
  int listening_[2] = {-1, -1};
  std::atomic<bool> held_[2] = {false, false};
  std::atomic<bool> over_{false}, reset_{false};
  std::list<Pair> pairs_;  // of the thread
  std::thread thread_;
};

}  // namespace r1::test
