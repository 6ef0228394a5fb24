// What both ends of links over ZeroMQ share: their sockets, what a message is, what a monitor tells, orders from other threads.
// Internal to runtime/net/zmq_head.cpp and zmq_node.cpp, and the only file that includes zmq.hpp.
// Thread rule: all but End::order, End::close and End::now_ns belong to the end's own thread.
#pragma once

#include <fmt/format.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <zmq.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/net/zmq_links.h"

namespace r1 {

constexpr int kRounds = 256;      // messages of one socket in a row
constexpr int kLingerMs = 500;    // for the last word
constexpr size_t kCopied = 4096;  // smaller frames are copied, larger ones lent
constexpr size_t kTagBytes = 16;  // that names a link's two connections
constexpr const char* kClosed = "its connection closed";
constexpr std::array<LinkLane, 2> kLanes = {LinkLane::control, LinkLane::bulk};

// Ids of peers are this process's, whichever end they are of.
PeerId new_peer_id();

inline char lane_letter(LinkLane lane) { return lane == LinkLane::control ? 'c' : 'b'; }

// Port 0: any that is free, which only one end can be told.
inline std::string endpoint(const LinkAddress& address, LinkLane lane) {
  const bool v6 = address.host.find(':') != std::string::npos;
  const std::string port = address.port == 0 ? "*" : std::to_string(address.port + static_cast<int>(lane));
  return fmt::format("tcp://{}{}{}:{}", v6 ? "[" : "", address.host, v6 ? "]" : "", port);
}

inline zmq::message_t message_of(const WireFrame& frame) {
  const std::string_view bytes = frame.bytes();
  if (bytes.size() < kCopied) return zmq::message_t(bytes.data(), bytes.size());
  auto* held = new WireFrame(frame);
  return zmq::message_t(
      const_cast<char*>(bytes.data()), bytes.size(), [](void*, void* hint) { delete static_cast<WireFrame*>(hint); }, held);
}

// False: there is no such connection (any more).
inline bool send_to(zmq::socket_t& socket, const std::string& identity, const WireMessage& message) {
  try {
    using enum zmq::send_flags;
    if (!identity.empty() && !socket.send(zmq::message_t(identity.data(), identity.size()), sndmore | dontwait)) return false;
    const auto flags = [&](size_t i) { return i < message.parts.size() ? sndmore | dontwait : dontwait; };
    if (!socket.send(zmq::message_t(message.header.data(), message.header.size()), flags(0))) return false;
    for (size_t i = 0; i < message.parts.size(); ++i)
      if (!socket.send(message_of(message.parts[i]), flags(i + 1))) return false;
    return true;
  } catch (const zmq::error_t& e) {
    if (e.num() == EHOSTUNREACH) return false;
    throw;
  }
}

struct Received {
  std::string identity;  // of a head's sockets
  std::string principal;
  int fd = -1;
  WireMessage message;
};

inline std::optional<Received> receive_from(zmq::socket_t& socket, bool with_identity) {
  Received got;
  size_t part = 0;
  for (bool more = true; more; ++part) {
    auto message = std::make_shared<zmq::message_t>();
    if (!socket.recv(*message, part == 0 ? zmq::recv_flags::dontwait : zmq::recv_flags::none)) return std::nullopt;
    more = message->more();
    const std::string_view bytes(message->data<char>(), message->size());
    const size_t place = with_identity ? part : part + 1;
    if (place == 0) {
      got.identity = bytes;
    } else if (place == 1) {
      got.message.header = bytes.substr(0, kMaxHeaderBytes + 1);
      if (with_identity) {
        got.fd = message->get(ZMQ_SRCFD);
        if (const char* user = zmq_msg_gets(message->handle(), "User-Id")) got.principal = user;
      }
    } else if (place <= kMaxParts + 2) {  // one too many shows that there were
      got.message.parts.emplace_back(message, bytes);
    }
  }
  return got;
}

// What a socket's monitor has told: descriptors of connections that are closed, and whether a greeting was refused.
struct Watch {
  Watch(zmq::context_t& context, zmq::socket_t& socket, const std::string& name, int events)
      : events_(context, zmq::socket_type::pair) {
    const std::string where = "inproc://" + name;
    if (zmq_socket_monitor(socket.handle(), where.c_str(), events) != 0) throw zmq::error_t();
    events_.set(zmq::sockopt::linger, 0);
    events_.connect(where);
  }
  struct Event {
    int kind = 0;
    int value = 0;
  };
  std::optional<Event> next() {
    zmq::message_t head, address;
    if (!events_.recv(head, zmq::recv_flags::dontwait)) return std::nullopt;
    (void)events_.recv(address);
    uint16_t kind = 0;
    int32_t value = 0;
    std::memcpy(&kind, head.data<char>(), sizeof kind);
    std::memcpy(&value, head.data<char>() + sizeof kind, sizeof value);
    return Event{kind, value};
  }
  zmq::socket_t events_;
};

inline zmq_pollitem_t watched(zmq::socket_t& socket) { return {socket.handle(), 0, ZMQ_POLLIN, 0}; }

// Signals go to other threads: a call of a socket that one interrupts would fail.
inline void block_signals() {
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

// What both ends share: orders from other threads, time.
class End {
 public:
  End() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (wake_ < 0) throw failure("no more files can be opened for links");
  }
  ~End() { ::close(wake_); }

  struct Order {
    PeerId peer = 0;
    std::optional<LinkPacket> packet;  // absent: drop
    std::string why;
  };
  void order(Order o) {
    {
      std::lock_guard lock(mutex_);
      orders_.push_back(std::move(o));
    }
    awake();
  }
  void close() {
    {
      std::lock_guard lock(mutex_);
      closing_ = true;
    }
    awake();
  }
  // False: it is to end.
  bool take(std::deque<Order>& orders) {
    uint64_t count = 0;
    (void)!::read(wake_, &count, sizeof count);
    std::lock_guard lock(mutex_);
    orders.swap(orders_);
    return !closing_;
  }
  zmq_pollitem_t wake_item() const { return {nullptr, wake_, ZMQ_POLLIN, 0}; }
  int64_t now_ns() const { return clock_.now_ns(); }
  static long wait_ms(int64_t now_ns, int64_t until_ns) {
    if (until_ns <= now_ns) return 0;
    return static_cast<long>(std::min<int64_t>((until_ns - now_ns) / 1'000'000 + 1, 60'000));
  }

 private:
  void awake() const {
    const uint64_t one = 1;
    while (::write(wake_, &one, sizeof one) < 0 && errno == EINTR) {
    }
  }
  SystemClock clock_;
  const int wake_;
  std::mutex mutex_;
  std::deque<Order> orders_;
  bool closing_ = false;
};

inline zmq::socket_t new_socket(zmq::context_t& context, zmq::socket_type type, const CurveKeys& keys,
                                const std::string& host) {
  zmq::socket_t socket(context, type);
  socket.set(zmq::sockopt::linger, kLingerMs);
  socket.set(zmq::sockopt::sndhwm, 0);  // the window bounds what is under way; a full socket would lose messages
  socket.set(zmq::sockopt::maxmsgsize, static_cast<int64_t>(kMaxPartBytes));
  socket.set(zmq::sockopt::ipv6, host.find(':') != std::string::npos);
  socket.set(zmq::sockopt::curve_publickey, keys.public_key);
  socket.set(zmq::sockopt::curve_secretkey, keys.secret_key);
  return socket;
}

template <class Make>
auto reported(const std::string& what, Make make) {
  try {
    return make();
  } catch (const zmq::error_t& e) {
    throw failure(fmt::format("{}: {}", what, e.what()));
  }
}

}  // namespace r1
