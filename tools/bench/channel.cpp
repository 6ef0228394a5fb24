#include "tools/bench/channel.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <zmq.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "runtime/net/memory_links.h"
#include "tools/bench/bench_link.h"

namespace r1::bench {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kBulk = 64 * kMiB;  // a packet
constexpr size_t kSmall = 4096, kTiny = 64;
constexpr const char* kLocal = "tcp://127.0.0.1:*";

// What the other end does with a message.
enum class Do : char { count = 'c', hash = 'h', answer = 'a', echo = 'e', end = 'x' };

double now_s() { return SystemClock().now_s(); }

std::string pattern(size_t bytes) {
  std::string s(bytes, '\0');
  uint64_t x = 88172645463325252u;
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    std::memcpy(s.data() + i, &x, 8);
  }
  return s;
}

// What was received: its size and, where asked for, the hash of the hashes of the messages.
struct Tally {
  uint64_t bytes = 0;
  std::vector<Hash128> hashes;
  void add(Do what, std::string_view message) {
    bytes += message.size();
    if (what == Do::hash) hashes.push_back(hash_string(message));
  }
  std::string text() const { return fmt::format("{} {}", bytes, hash_list(hashes).hex()); }
};

// One way to another process.
class Channel {
 public:
  virtual ~Channel() = default;
  // Sends `bytes`, which outlive the channel, cut as suits it.
  virtual void send(Do what, std::string_view bytes) = 0;
  virtual std::string receive() = 0;  // what comes back: of Do::answer a Tally's text, of Do::echo the bytes
  virtual size_t bulk_message() const = 0;
  virtual size_t frame_bytes() const { return bulk_message(); }  // of which a message consists
};

class BareChannel final : public Channel {
 public:
  explicit BareChannel(bool curve) : socket_(context_, zmq::socket_type::dealer) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::rcvtimeo, static_cast<int>(kPatience_s * 1000));
    std::string key = "-";
    if (curve) {
      const CurveKeys keys = new_curve_keys();
      socket_.set(zmq::sockopt::curve_server, true);
      socket_.set(zmq::sockopt::curve_secretkey, keys.secret_key);
      key = keys.public_key;
    }
    socket_.bind(kLocal);
    peer_ = start_peer({"channel", "--peer", "bare", socket_.get(zmq::sockopt::last_endpoint)}, key);
  }
  void send(Do what, std::string_view bytes) override {
    const char letter = static_cast<char>(what);
    socket_.send(zmq::message_t(&letter, 1), zmq::send_flags::sndmore);
    if (bytes.size() < kSmall)
      socket_.send(zmq::message_t(bytes.data(), bytes.size()), zmq::send_flags::none);
    else
      socket_.send(zmq::message_t(const_cast<char*>(bytes.data()), bytes.size(), [](void*, void*) {}), zmq::send_flags::none);
  }
  std::string receive() override {
    zmq::message_t message;
    if (!socket_.recv(message)) peer_is_silent();
    return message.to_string();
  }
  size_t bulk_message() const override { return kMiB; }

 private:
  zmq::context_t context_;
  zmq::socket_t socket_;
  std::unique_ptr<LineProcess> peer_;
};

LinkPacket packet_of(Do what, std::string_view bytes, size_t frame_bytes) {
  LinkPacket packet;
  packet.kind = PacketKind::payload;
  packet.number = static_cast<uint64_t>(what);
  for (size_t at = 0; at < bytes.size(); at += frame_bytes) packet.frames.emplace_back(nullptr, bytes.substr(at, frame_bytes));
  return packet;
}

// A Tally of frames is that of the bare messages.
void add_frames(Tally& tally, Do what, const LinkPacket& packet) {
  for (const WireFrame& frame : packet.frames) tally.add(what, frame.bytes());
}

class LinkChannel final : public Channel {
 public:
  explicit LinkChannel(size_t frame_bytes) : frame_bytes_(frame_bytes), head_({"channel", "--peer", "link"}) {}
  void send(Do what, std::string_view bytes) override { head_.send(packet_of(what, bytes, frame_bytes_)); }
  std::string receive() override {
    const LinkPacket packet = head_.take();
    return packet.frames.empty() ? packet.body : std::string(packet.frames[0].bytes());
  }
  size_t bulk_message() const override { return kBulk; }
  size_t frame_bytes() const override { return frame_bytes_; }

 private:
  const size_t frame_bytes_;
  BenchHead head_;
};

// The link's protocol alone: its bytes, in one thread, without sockets or encryption.
class MemoryChannel final : public Channel {
 public:
  MemoryChannel()
      : net_(clock_, {}), head_(net_.listen(bench_terms(), at_head_)), node_(net_.dial("node:bench", bench_terms(), at_node_)) {
    net_.settle();
    at_node_.links = node_.get();
  }
  void send(Do what, std::string_view bytes) override {
    head_->send(at_head_.peer, packet_of(what, bytes, kMiB));
    net_.settle();
  }
  std::string receive() override {
    R1_CHECK(!at_head_.heard.empty());
    return std::exchange(at_head_.heard, {});
  }
  size_t bulk_message() const override { return kBulk; }
  size_t frame_bytes() const override { return kMiB; }

 private:
  struct End final : LinkSink {
    Links* links = nullptr;  // of the end that answers
    PeerId peer = 0;
    std::string heard;
    Tally tally;
    void peer_up(PeerId id, const PeerHello&) override { peer = id; }
    void received(PeerId id, LinkPacket packet) override {
      if (links == nullptr) {
        heard = packet.frames.empty() ? packet.body : std::string(packet.frames[0].bytes());
        return;
      }
      const Do what = static_cast<Do>(packet.number);
      if (what == Do::echo) links->send(id, std::move(packet));
      if (what == Do::count || what == Do::hash) add_frames(tally, what, packet);
      if (what != Do::answer) return;
      LinkPacket answer;
      answer.body = std::exchange(tally, {}).text();
      links->send(id, std::move(answer));
    }
    void peer_lost(PeerId, const std::string& why) override { throw failure(why); }
    void not_joined(const std::string& why, bool) override { throw failure(why); }
  };
  VirtualClock clock_;
  MemoryNet net_;
  End at_head_, at_node_;
  std::unique_ptr<Links> head_, node_;
};

// Seconds for `count` messages of the bytes, until the other end says that they are there.
double run(Channel& channel, Do what, std::string_view bytes, int count, std::string* said) {
  const double began = now_s();
  for (int i = 0; i < count; ++i) channel.send(what, bytes);
  channel.send(Do::answer, {});
  *said = channel.receive();
  return now_s() - began;
}

// Times, and then once more with every byte looked at.
std::optional<double> seconds_of(Channel& channel, std::string_view bytes, int count, int repetitions, bool* verified) {
  std::string said;
  double best = 0;
  Tally expected;
  const auto add = [&](Tally& tally, Do what) {
    for (size_t at = 0; at < bytes.size(); at += channel.frame_bytes())
      tally.add(what, bytes.substr(at, channel.frame_bytes()));
  };
  for (int i = 0; i < count; ++i) add(expected, Do::count);
  for (int r = 0; r <= repetitions; ++r) {  // the first one warms up
    const double s = run(channel, Do::count, bytes, count, &said);
    *verified = *verified && said == expected.text();
    if (r == 1 || (r > 1 && s < best)) best = s;
  }
  Tally hashed;
  for (int i = 0; i < std::min(count, 16); ++i) add(hashed, Do::hash);
  run(channel, Do::hash, bytes, std::min(count, 16), &said);
  *verified = *verified && said == hashed.text();
  return *verified ? std::optional(best) : std::nullopt;
}

ChannelCase measure(const std::string& name, Channel& channel, const ChannelOptions& o, const std::string& bulk) {
  ChannelCase c{name};
  c.verified = true;
  const std::string_view message = std::string_view(bulk).substr(0, channel.bulk_message());
  const int count = std::max<int>(1, static_cast<int>(static_cast<size_t>(o.mib) * kMiB / message.size()));
  if (const auto s = seconds_of(channel, message, count, o.repetitions, &c.verified))
    c.gb_per_s = static_cast<double>(message.size()) * count / *s * 1e-9;
  if (const auto s = seconds_of(channel, std::string_view(bulk).substr(0, kSmall), o.messages, o.repetitions, &c.verified))
    c.messages_per_s = o.messages / *s;
  std::vector<double> times;
  const std::string_view tiny = std::string_view(bulk).substr(0, kTiny);
  for (int i = 0; i < o.round_trips; ++i) {
    const double began = now_s();
    channel.send(Do::echo, tiny);
    c.verified = c.verified && channel.receive() == tiny;
    times.push_back(now_s() - began);
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  if (c.verified && !times.empty()) c.round_trip_us = times[times.size() / 2] * 1e6;
  return c;
}

double memcpy_rate(const std::string& from) {
  std::string to(from.size(), '\1');
  double best = 0;
  for (int r = 0; r < 8; ++r) {
    const double began = now_s();
    std::memcpy(to.data(), from.data(), from.size());
    asm volatile("" : : "r"(to.data()) : "memory");
    best = std::max(best, static_cast<double>(from.size()) / (now_s() - began) * 1e-9);
  }
  return best;
}

int bare_peer(const std::string& endpoint) {
  std::string key;
  std::cin >> key;
  zmq::context_t context;
  zmq::socket_t socket(context, zmq::socket_type::dealer);
  socket.set(zmq::sockopt::linger, 1000);
  if (key != "-") {
    const CurveKeys own = new_curve_keys();
    socket.set(zmq::sockopt::curve_serverkey, key);
    socket.set(zmq::sockopt::curve_publickey, own.public_key);
    socket.set(zmq::sockopt::curve_secretkey, own.secret_key);
  }
  socket.connect(endpoint);
  Tally tally;
  for (;;) {
    zmq::message_t head, bytes;
    if (!socket.recv(head) || !socket.recv(bytes)) return 1;
    const Do what = static_cast<Do>(*head.data<char>());
    if (what == Do::echo) socket.send(bytes, zmq::send_flags::none);
    if (what == Do::count || what == Do::hash) tally.add(what, bytes.to_string_view());
    if (what == Do::answer) socket.send(zmq::buffer(std::exchange(tally, {}).text()), zmq::send_flags::none);
  }
}

int link_peer(const std::string& address) {
  struct Answerer final : LinkSink {
    std::mutex mutex;
    std::condition_variable changed;
    Links* links = nullptr;
    bool over = false;
    Tally tally;
    void peer_up(PeerId, const PeerHello&) override {}
    void received(PeerId peer, LinkPacket packet) override {
      const Do what = static_cast<Do>(packet.number);
      if (what == Do::count || what == Do::hash) add_frames(tally, what, packet);
      if (what != Do::echo && what != Do::answer) return;
      if (what == Do::answer) packet.body = std::exchange(tally, {}).text();
      std::lock_guard lock(mutex);
      links->send(peer, std::move(packet));
    }
    void peer_lost(PeerId, const std::string&) override { end(); }
    void not_joined(const std::string&, bool) override { end(); }
    void end() {
      std::lock_guard lock(mutex);
      over = true;
      changed.notify_all();
    }
  } sink;
  std::unique_ptr<Links> links;
  std::unique_lock lock(sink.mutex);
  links = dial_bench_head(address, sink);
  sink.links = links.get();
  sink.changed.wait(lock, [&] { return sink.over; });
  lock.unlock();
  return 0;
}

}  // namespace

bool ChannelReport::ok() const {
  return std::all_of(cases.begin(), cases.end(), [](const ChannelCase& c) { return c.verified; });
}

ChannelReport bench_channel(const ChannelOptions& options, const std::string& machine) {
  const std::string bulk = pattern(kBulk);  // outlives the channels
  ChannelReport report;
  report.machine = machine;
  report.memcpy_gb_per_s = memcpy_rate(bulk);
  const auto add = [&](const std::string& name, auto channel) {
    report.cases.push_back(measure(name, *channel, options, bulk));
  };
  add("bare ZeroMQ", std::make_unique<BareChannel>(false));
  add("bare ZeroMQ, CURVE", std::make_unique<BareChannel>(true));
  add("link (CURVE), 1 MiB frames", std::make_unique<LinkChannel>(kMiB));
  add("link (CURVE), 64 MiB frames", std::make_unique<LinkChannel>(kBulk));
  add("a link's protocol in memory", std::make_unique<MemoryChannel>());
  report.memcpy_gb_per_s = std::max(report.memcpy_gb_per_s, memcpy_rate(bulk));
  return report;
}

int channel_peer(const std::string& how, const std::string& address) {
  if (how == "bare") return bare_peer(address);
  if (how == "link") return link_peer(address);
  throw bad_input(fmt::format("--peer {}: no such peer", how), {}, "r1-bench channel starts it itself");
}

std::string channel_table(const ChannelReport& r) {
  std::string s = fmt::format("{}\nmemcpy of 64 MiB, one thread: {:.2f} GB/s\n\n", r.machine, r.memcpy_gb_per_s);
  s += fmt::format("{:<28} {:>8} {:>10} {:>14} {:>8} {:>12} {:>9}\n", "between two processes", "GB/s", "of memcpy",
                   "4 KiB msg/s", "GB/s", "round trip", "verified");
  const auto number = [](std::optional<double> v, const char* form, double scale = 1) {
    return v ? fmt::format(fmt::runtime(form), *v * scale) : std::string("-");
  };
  for (const ChannelCase& c : r.cases)
    s += fmt::format("{:<28} {:>8} {:>10} {:>14} {:>8} {:>12} {:>9}\n", c.name, number(c.gb_per_s, "{:.2f}"),
                     number(c.gb_per_s, "{:.3f}", 1 / r.memcpy_gb_per_s), number(c.messages_per_s, "{:.0f}"),
                     number(c.messages_per_s, "{:.2f}", kSmall * 1e-9), number(c.round_trip_us, "{:.0f} us"),
                     c.verified ? "yes" : "NO");
  return s;
}

nlohmann::json channel_json(const ChannelReport& r) {
  nlohmann::json cases = nlohmann::json::array();
  for (const ChannelCase& c : r.cases) {
    nlohmann::json j{{"name", c.name}, {"verified", c.verified}};
    if (c.gb_per_s) j["gb_per_s"] = *c.gb_per_s, j["of_memcpy"] = *c.gb_per_s / r.memcpy_gb_per_s;
    if (c.messages_per_s) j["messages_per_s"] = *c.messages_per_s;
    if (c.round_trip_us) j["round_trip_us"] = *c.round_trip_us;
    cases.push_back(std::move(j));
  }
  return {{"what", "channel"},
          {"machine", r.machine},
          {"memcpy_gb_per_s", r.memcpy_gb_per_s},
          {"verified", r.ok()},
          {"cases", cases}};
}

}  // namespace r1::bench
