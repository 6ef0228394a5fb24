#include "tools/dashboard/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/error.h"
#include "base/log.h"

namespace r1::dashboard {

namespace {

constexpr int kBacklog = 128;
constexpr int kAcceptedAtOnce = 16;  // so that what has connected is read before the next ones push it out
constexpr int kNice = 10;
constexpr int kSendBuffer = 256 << 10;  // of the kernel, a connection: what nobody takes waits here, where it is counted
constexpr size_t kLingerBytes = size_t{256} << 10;
constexpr double kLinger_s = 1;  // a peer that still sends would lose the answer if its bytes were left unread

using Text = std::shared_ptr<const std::string>;

struct Connection {
  enum class State { asking, answering, stream, lingering };
  State state = State::asking;
  Descriptor fd;
  HttpRequestReader asked;
  std::string head;  // of the answer; then `body`
  Text body;
  size_t sent = 0;           // of both; while it lingers: bytes thrown away
  bool stream_next = false;  // after the head
  Text seen;                 // of a stream: the event sent last
  double deadline = 0;

  Connection(Descriptor socket, const HttpLimits& limits, double now_s)
      : fd(std::move(socket)), asked(limits.request_bytes), deadline(now_s + limits.ask_s) {}
  size_t waiting() const { return state == State::lingering ? 0 : head.size() + (body ? body->size() : 0) - sent; }
};

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto ip = ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr);
    return ip >> 24 == 127;
  }
  return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
}

}  // namespace

struct HttpServer::Impl {
  HttpLimits limits;
  HttpSite site;
  SystemClock clock;
  Descriptor listener, ending;
  int port = 0;
  bool loopback = false;
  std::list<Connection> connections;  // of those that ask, the one that has waited longest first
  Text event;
  double next_event_s = 0;
  std::thread thread;

  void listen(const std::string& host, int at);
  void serve();
  void accept_some();
  bool move(Connection& c);
  bool read_some(Connection& c);
  bool write_some(Connection& c);
  void answer(Connection& c, int refused, const HttpRequest& request);
  void begin_event(Connection& c);
  size_t streams() const {
    return static_cast<size_t>(std::count_if(connections.begin(), connections.end(), [](const Connection& c) {
      return c.state == Connection::State::stream || c.stream_next;
    }));
  }
  size_t waiting_bytes() const {
    size_t sum = 0;
    for (const Connection& c : connections) sum += c.state == Connection::State::answering ? c.waiting() : 0;
    return sum;
  }
};

void HttpServer::Impl::listen(const std::string& host, int at) {
  addrinfo wanted{}, *found = nullptr;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  const std::string where = host.find(':') == host.npos ? fmt::format("{}:{}", host, at) : fmt::format("[{}]:{}", host, at);
  if (const int error = ::getaddrinfo(host.c_str(), std::to_string(at).c_str(), &wanted, &found); error != 0)
    throw bad_input(fmt::format("the dashboard cannot listen on {}: {}", where, ::gai_strerror(error)), {},
                    "an address of this machine is needed, such as 127.0.0.1");
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, ::freeaddrinfo);
  listener = Descriptor(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (::bind(listener.get(), found->ai_addr, found->ai_addrlen) != 0 || ::listen(listener.get(), kBacklog) != 0)
    throw bad_input(fmt::format("the dashboard cannot listen on {}: {}", where, std::strerror(errno)), {},
                    errno == EADDRINUSE ? "another port, or 0 for any that is free" : "an address of this machine is needed");
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&bound), &size);
  port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                           : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  loopback = is_loopback(reinterpret_cast<sockaddr*>(&bound));
  ending = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (ending.get() < 0) throw failure("the dashboard has no event", {}, std::strerror(errno));
}

void HttpServer::Impl::accept_some() {
  for (int i = 0; i < kAcceptedAtOnce; ++i) {
    Descriptor fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    const auto oldest = std::find_if(connections.begin(), connections.end(),
                                     [](const Connection& c) { return c.state != Connection::State::stream; });
    if (fd.get() < 0) {
      // Out of descriptors: the oldest goes, and the next round tries again.
      if ((errno == EMFILE || errno == ENFILE) && oldest != connections.end()) connections.erase(oldest);
      return;
    }
    if (connections.size() >= limits.connections) {
      if (oldest == connections.end()) return;  // the new one goes
      connections.erase(oldest);
    }
    const int yes = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
    connections.emplace_back(std::move(fd), limits, clock.now_s());
  }
}

// False: the connection is over.
bool HttpServer::Impl::read_some(Connection& c) {
  char buffer[2048];
  for (int i = 0; i < 64; ++i) {
    const ssize_t n = ::recv(c.fd.get(), buffer, sizeof buffer, 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;
    if (c.state == Connection::State::stream) return false;  // a reader of events has nothing to say
    if (c.state == Connection::State::lingering) {
      c.sent += static_cast<size_t>(n);
      if (c.sent > kLingerBytes) return false;
      continue;
    }
    HttpRequest request;
    if (const auto status = c.asked.take({buffer, static_cast<size_t>(n)}, request)) {
      answer(c, *status, request);
      return true;
    }
  }
  return true;
}

// `refused`: the status of what is wrong with the request, or 0.
void HttpServer::Impl::answer(Connection& c, int refused, const HttpRequest& request) {
  HttpAnswer a;
  a.status = refused;
  if (a.status == 0) {
    try {
      a = site.answer(request, HttpPeer{c.fd.get()});
    } catch (const std::exception& e) {
      log_warn(fmt::format("dashboard: {}: {}", request.path, e.what()));
      a = HttpAnswer{500};
    }
  }
  if ((a.stream && streams() >= limits.streams) || (a.body && waiting_bytes() + a.body->size() > limits.waiting_bytes)) {
    a = HttpAnswer{503};
    a.headers = {"Retry-After: 5"};
  }
  if (!a.body && !a.stream)
    a.body = std::make_shared<const std::string>(fmt::format("{} {}\n", a.status, http_reason(a.status)));
  c.head = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nConnection: close\r\nCache-Control: no-store\r\n", a.status,
                       http_reason(a.status), a.type);
  if (a.status == 405) c.head += "Allow: GET, HEAD\r\n";
  if (!a.stream) c.head += fmt::format("Content-Length: {}\r\n", a.body->size());
  for (const std::string& line : a.headers) c.head += line + "\r\n";
  c.head += "\r\n";
  c.body = request.head_only ? nullptr : a.body;
  c.stream_next = a.stream && !request.head_only;
  c.sent = 0;
  c.state = Connection::State::answering;
  c.deadline = clock.now_s() + limits.read_s;
}

void HttpServer::Impl::begin_event(Connection& c) {
  if (c.waiting() > 0 || !event || c.seen == event) return;
  c.head.clear();
  c.body = c.seen = event;
  c.sent = 0;
  c.deadline = clock.now_s() + limits.read_s;
}

bool HttpServer::Impl::write_some(Connection& c) {
  while (c.waiting() > 0) {
    const bool in_head = c.sent < c.head.size();
    const std::string& from = in_head ? c.head : *c.body;
    const size_t at = in_head ? c.sent : c.sent - c.head.size();
    const ssize_t n = ::send(c.fd.get(), from.data() + at, from.size() - at, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    c.sent += static_cast<size_t>(n);
  }
  if (c.state == Connection::State::stream) return true;
  c.head.clear();
  c.body = nullptr;
  c.sent = 0;
  if (std::exchange(c.stream_next, false)) {
    c.state = Connection::State::stream;
    begin_event(c);
  } else {
    ::shutdown(c.fd.get(), SHUT_WR);
    c.state = Connection::State::lingering;
    c.deadline = clock.now_s() + kLinger_s;
  }
  return true;
}

bool HttpServer::Impl::move(Connection& c) {
  // A stream has a deadline while an event waits to be taken.
  if (clock.now_s() >= c.deadline && (c.state != Connection::State::stream || c.waiting() > 0)) return false;
  if (c.state != Connection::State::answering && !read_some(c)) return false;
  return c.waiting() == 0 || write_some(c);
}

void HttpServer::Impl::serve() {
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), kNice);
  while (true) {
    std::vector<pollfd> wait{{ending.get(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    for (const Connection& c : connections)
      // What comes after a request is not read before it is answered.
      wait.push_back(
          {c.fd.get(),
           static_cast<short>((c.state == Connection::State::answering ? 0 : POLLIN) | (c.waiting() > 0 ? POLLOUT : 0)), 0});
    if (::poll(wait.data(), wait.size(), 100) < 0 && errno != EINTR) return;
    if (wait[0].revents != 0) return;
    for (auto c = connections.begin(); c != connections.end();) c = move(*c) ? std::next(c) : connections.erase(c);
    if (clock.now_s() >= next_event_s) {
      // Nobody looks, nothing is made.
      event = streams() > 0 ? site.event() : nullptr;
      next_event_s = clock.now_s() + site.event_s;
    }
    for (Connection& c : connections) {
      if (c.state != Connection::State::stream) continue;
      if (!event) event = site.event();
      begin_event(c);
      if (c.waiting() > 0 && !write_some(c)) c.deadline = 0;
    }
    if (wait[1].revents != 0) accept_some();
  }
}

HttpServer::HttpServer(const std::string& host, int port, HttpLimits limits) : impl_(std::make_unique<Impl>()) {
  impl_->limits = limits;
  impl_->listen(host, port);
}

HttpServer::~HttpServer() { stop(); }

int HttpServer::port() const { return impl_->port; }
bool HttpServer::loopback() const { return impl_->loopback; }

void HttpServer::start(HttpSite site) {
  impl_->site = std::move(site);
  impl_->thread = std::thread([this] { impl_->serve(); });
}

void HttpServer::stop(const std::string& last) {
  if (!impl_->thread.joinable()) return;
  const uint64_t one = 1;
  if (::write(impl_->ending.get(), &one, sizeof one) < 0) log_warn("the dashboard's thread cannot be woken");
  impl_->thread.join();
  impl_->event = std::make_shared<const std::string>(last);
  for (Connection& c : impl_->connections) {
    if (c.state == Connection::State::stream && !last.empty()) impl_->begin_event(c);
    if (c.waiting() > 0) impl_->write_some(c);
  }
  impl_->connections.clear();
  impl_->listener = Descriptor();
}

}  // namespace r1::dashboard
