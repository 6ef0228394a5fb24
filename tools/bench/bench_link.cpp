#include "tools/bench/bench_link.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <utility>

#include "base/error.h"

namespace r1::bench {

std::unique_ptr<LineProcess> start_peer(const std::vector<std::string>& arguments, const std::string& line) {
  std::vector<std::string> command = {std::filesystem::read_symlink("/proc/self/exe").string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  auto peer = std::make_unique<LineProcess>(ProcessSpec{command, "", {}}, LineProcessOptions{});
  if (peer->send(line, kPatience_s, nullptr).outcome != LineProcess::Outcome::line)
    throw failure("the other process does not read what it is told");
  return peer;
}

LinkTerms bench_terms() {
  LinkTerms t;
  t.self.build = "r1-bench";
  t.self.host = "here";
  t.self.pid = ::getpid();
  t.self.nonce = std::to_string(::getpid());
  return t;
}

void peer_is_silent() { throw failure(fmt::format("the other process said nothing for {:g} s", kPatience_s)); }

void Inbox::peer_up(PeerId peer, const PeerHello&) {
  change([&] { peer_ = peer; });
}
void Inbox::received(PeerId, LinkPacket packet) {
  change([&] { packets_.push_back(std::move(packet)); });
}
void Inbox::peer_lost(PeerId, const std::string& why) {
  change([&] { over_ = why; });
}
void Inbox::not_joined(const std::string& why, bool) {
  change([&] { over_ = why; });
}

PeerId Inbox::wait_peer() {
  wait([&] { return peer_ != 0; });
  const std::lock_guard lock(mutex_);
  return peer_;
}

LinkPacket Inbox::take() {
  wait([&] { return next_ < packets_.size(); });
  const std::lock_guard lock(mutex_);
  LinkPacket packet = std::move(packets_[next_++]);
  if (next_ == packets_.size()) {
    packets_.clear();
    next_ = 0;
  }
  return packet;
}

bool Inbox::empty() {
  const std::lock_guard lock(mutex_);
  return next_ == packets_.size();
}

void Inbox::change(const std::function<void()>& how) {
  const std::lock_guard lock(mutex_);
  how();
  changed_.notify_all();
}

void Inbox::wait(const std::function<bool()>& is_so) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, std::chrono::duration<double>(kPatience_s), [&] { return is_so() || !over_.empty(); }))
    peer_is_silent();
  if (!is_so()) throw failure("the link is over: " + over_);
}

BenchHead::BenchHead(std::vector<std::string> arguments) {
  ZmqHeadOptions options;
  options.keys = new_curve_keys();
  const CurveKeys node = new_curve_keys();
  ring_.let_in("node:bench", node.public_key);
  head_ = zmq_listen(options, ring_, bench_terms(), inbox_);
  arguments.push_back(head_->address().text());
  peer_ = start_peer(arguments, fmt::format("{} {} {}", options.keys.public_key, node.public_key, node.secret_key));
  to_ = inbox_.wait_peer();
}

std::unique_ptr<Links> dial_bench_head(const std::string& address, LinkSink& sink) {
  ZmqNodeOptions options;
  options.head = parse_link_address(address);
  std::cin >> options.head_key >> options.keys.public_key >> options.keys.secret_key;
  return zmq_dial(options, bench_terms(), sink);
}

}  // namespace r1::bench
