// A sink that other threads wait at, with a limit that no passing test comes near; and what a head and a node need to talk.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>

#include "runtime/net/zmq_links.h"
#include "tests/runtime/net/link_fixture.h"

namespace r1::test {

class WaitingSink final : public LinkSink {
 public:
  void peer_up(PeerId peer, const PeerHello& hello) override {
    change([&] { heard_.peer_up(peer, hello); });
  }
  void received(PeerId peer, LinkPacket packet) override {
    change([&] { heard_.received(peer, std::move(packet)); });
  }
  void peer_lost(PeerId peer, const std::string& why) override {
    change([&] { heard_.peer_lost(peer, why); });
  }
  void not_joined(const std::string& why, bool refused) override {
    change([&] { heard_.not_joined(why, refused); });
  }
  // When `is_so` holds, or after a minute. What was heard until then.
  Heard wait(const std::function<bool(const Heard&)>& is_so) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(60), [&] { return is_so(heard_); });
    return heard_;
  }
  Heard wait_lines(size_t n) {
    return wait([n](const Heard& h) { return h.all.size() >= n; });
  }
  Heard wait_packets(size_t n) {
    return wait([n](const Heard& h) { return h.packets.size() >= n; });
  }

 private:
  void change(const std::function<void()>& how) {
    std::lock_guard lock(mutex_);
    how();
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  Heard heard_;
};

// A head that listens on loopback, and keys.
struct Listening {
  explicit Listening(LinkConfig link = {}, int64_t greeting_ns = 3'000'000'000) {
    ZmqHeadOptions options;
    options.keys = keys;
    options.link = link;
    options.greeting_ns = greeting_ns;
    head = zmq_listen(options, ring, terms(), at_head);
  }
  CurveKeys let_in(const std::string& principal) {
    const CurveKeys made = new_curve_keys();
    ring.let_in(principal, made.public_key);
    return made;
  }
  ZmqNodeOptions node(const CurveKeys& node_keys) const {
    ZmqNodeOptions options;
    options.head = head->address();
    options.head_key = keys.public_key;
    options.keys = node_keys;
    return options;
  }
  CurveKeys keys = new_curve_keys();
  KeyRing ring;
  WaitingSink at_head;
  std::unique_ptr<ZmqHead> head;
};

}  // namespace r1::test
