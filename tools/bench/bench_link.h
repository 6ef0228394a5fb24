// Two processes with a link between them, for benchmarks: this program again as the other end, and what both hear of the link.
// Thread rule: Inbox is thread-safe; the rest one thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/line_process.h"
#include "runtime/net/zmq_links.h"

namespace r1::bench {

constexpr double kPatience_s = 120;

// This program again, as the other end: `arguments`, and then `line` on its stdin.
std::unique_ptr<LineProcess> start_peer(const std::vector<std::string>& arguments, const std::string& line);
// What each end says of itself.
LinkTerms bench_terms();
[[noreturn]] void peer_is_silent();

// What a sink hears, for a thread that waits; kPatience_s at most, then it throws failure.
class Inbox final : public LinkSink {
 public:
  void peer_up(PeerId peer, const PeerHello&) override;
  void received(PeerId, LinkPacket packet) override;
  void peer_lost(PeerId, const std::string& why) override;
  void not_joined(const std::string& why, bool) override;
  PeerId wait_peer();
  LinkPacket take();
  bool empty();

 private:
  void change(const std::function<void()>& how);
  void wait(const std::function<bool()>& is_so);
  std::mutex mutex_;
  std::condition_variable changed_;
  PeerId peer_ = 0;
  std::vector<LinkPacket> packets_;
  size_t next_ = 0;
  std::string over_;
};

// The end that starts the other one, by `arguments` and the address to dial.
class BenchHead {
 public:
  explicit BenchHead(std::vector<std::string> arguments);
  void send(LinkPacket packet) { head_->send(to_, std::move(packet)); }
  LinkPacket take() { return inbox_.take(); }

 private:
  KeyRing ring_;
  Inbox inbox_;
  std::unique_ptr<ZmqHead> head_;
  std::unique_ptr<LineProcess> peer_;
  PeerId to_ = 0;
};

// The other end: dials `address` with the keys that stand on stdin.
std::unique_ptr<Links> dial_bench_head(const std::string& address, LinkSink& sink);

}  // namespace r1::bench
