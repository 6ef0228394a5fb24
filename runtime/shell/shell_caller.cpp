#include "runtime/shell/shell_caller.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "runtime/net/zmq_links.h"

namespace r1 {

struct ShellCaller::Impl final : LinkSink {
  void peer_up(PeerId id, const PeerHello&) override {
    const std::lock_guard lock(mutex);
    peer = id;
    changed.notify_all();
  }
  void received(PeerId, LinkPacket packet) override {
    const std::lock_guard lock(mutex);
    if (packet.number == question) heard.push_back(std::move(packet));
    changed.notify_all();
  }
  void peer_lost(PeerId, const std::string& why) override { over(why, false); }
  void not_joined(const std::string& why, bool no) override { over(why, no); }
  void over(const std::string& why, bool no) {
    const std::lock_guard lock(mutex);
    ended = why.empty() ? "the link is over" : why;
    refused = no;
    peer = 0;
    changed.notify_all();
  }

  std::string place;
  std::mutex mutex;
  std::condition_variable changed;
  PeerId peer = 0;
  uint64_t question = 0;
  std::deque<LinkPacket> heard;
  std::string ended;
  bool refused = false;
  std::unique_ptr<Links> links;
};

ShellCaller::ShellCaller(const LinkAddress& run, const ShellKey& key, PeerHello self, double dial_s)
    : impl_(std::make_unique<Impl>()) {
  impl_->place = run.text();
  ZmqNodeOptions options;
  options.head = run;
  options.head_key = key.head;
  options.keys = key.keys;
  options.link.dial_ns = static_cast<int64_t>(dial_s * 1e9);
  LinkTerms terms;
  terms.self = std::move(self);
  impl_->links = zmq_dial(std::move(options), std::move(terms), *impl_);
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait(lock, [this] { return impl_->peer != 0 || !impl_->ended.empty(); });
  if (impl_->peer != 0) return;
  throw impl_->refused ? bad_input("the run does not let this shell in: " + impl_->ended, {impl_->place})
                       : failure("no run lets this shell in: " + impl_->ended, {impl_->place},
                                 "a run listens with r1-run --shell-listen HOST:PORT, for keys of its own run directory");
}

ShellCaller::~ShellCaller() = default;

std::string ShellCaller::ask(const std::string& line, double timeout_s, const std::function<void(const std::string&)>& part) {
  Impl& i = *impl_;
  LinkPacket packet;
  packet.kind = PacketKind::command;
  packet.body = line;
  std::unique_lock lock(i.mutex);
  packet.number = ++i.question;
  i.heard.clear();
  if (i.peer != 0) i.links->send(i.peer, std::move(packet));
  const auto limit = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
  for (;;) {
    while (!i.heard.empty()) {
      const LinkPacket next = std::move(i.heard.front());
      i.heard.pop_front();
      if (next.kind == PacketKind::reply) return next.body;
      lock.unlock();
      if (next.kind == PacketKind::token && part) part(next.body);
      lock.lock();
    }
    if (!i.ended.empty()) throw failure("the run is gone: " + i.ended, {i.place});
    if (!i.changed.wait_until(lock, limit, [&] { return !i.heard.empty() || !i.ended.empty(); }))
      throw failure(fmt::format("the run does not answer within {:.0f} s", timeout_s), {i.place});
  }
}

}  // namespace r1
