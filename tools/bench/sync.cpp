#include "tools/bench/sync.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctime>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "actors/messages.h"
#include "actors/weight_receiver.h"
#include "actors/wire.h"
#include "base/clock.h"
#include "base/error.h"
#include "models/generation/generator_engine.h"
#include "runtime/nodes/node_words.h"
#include "tools/bench/bench_link.h"

namespace r1::bench {
namespace {

constexpr uint64_t kAskHash = 1, kAskBulk = 2, kAskDecode = 3;
constexpr int kWarmRounds = 3;  // until both ends write sets that they have written before
constexpr size_t kMiBytes = size_t{1} << 20, kWholeBulk = 64 * kMiBytes;

double clock_s() { return SystemClock().now_s(); }

double cpu_s() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }  // of this process

double timed(const std::function<void()>& f) {
  const double began = clock_s();
  f();
  return clock_s() - began;
}

double middle(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<int64_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

LinkPacket asks(uint64_t what, std::string body = {}) {
  LinkPacket packet;
  packet.kind = PacketKind::ask;
  packet.number = what;
  packet.body = std::move(body);
  return packet;
}
LinkPacket answers(std::string body) {
  LinkPacket packet;
  packet.kind = PacketKind::answer;
  packet.body = std::move(body);
  return packet;
}

// ---- the receiver -----------------------------------------------------------------------------------------------------

struct Receiver {
  WeightReceiver weights{open_device("cpu")};
  double decode = 0, apply = 0, held_at = 0;  // of the last version; the clock is one for all processes of a machine

  void take(const LinkPacket& packet) {
    Envelope envelope;
    decode = timed([&] { envelope = decode_envelope({packet.body, frame_strings(packet.frames)}, message_codec()); });
    const auto& message = dynamic_cast<const WeightsMessage&>(*envelope.payload);
    apply = timed([&] { weights.take(message); });
    held_at = clock_s();
  }
  LinkPacket said() const { return answers(fmt::format("{} {} {}", decode, apply, held_at)); }
};

// One engine that decodes through intervals with and without a version, taken in by one of two receivers. They hold the same.
class Decoding {
 public:
  Decoding(Receiver& beside, int batch)
      : ways_{&beside, &in_place_},
        prompts_(bench_sequences(beside.weights.held()->config(), batch, 64, 5)),
        engine_(open_device("cpu"), config(batch), beside.weights.held(), beside.weights.version()) {
    in_place_.weights.take_in_place();
    in_place_.weights.hold(beside.weights.held(), beside.weights.version());
    for (int i = 0; i < batch; ++i) ask();
    while (tokens() < 2 * batch) step();  // all of the prompts are read
  }

  void take(int way, const LinkPacket& version) { ways_[way]->take(version); }
  void sample_with(int way) {
    WeightReceiver& weights = ways_[way]->weights;
    engine_.set_weights(weights.held(), weights.version());
    weights.catch_up();
  }
  void step() {
    for (size_t done = engine_.step().size(); done > 0; --done) ask();
  }
  int64_t tokens() const { return engine_.stats().tokens_generated; }

 private:
  static GeneratorConfig config(int batch) {
    GeneratorConfig c;
    c.max_running = batch;
    c.on_flip = OnFlip::keep;
    return c;
  }
  void ask() {
    GenRequest q;
    q.id = asked_;
    q.rng_key = asked_ + 1;
    q.prompt = prompts_[asked_++ % prompts_.size()].tokens;
    q.max_new_tokens = 512;
    engine_.submit(std::move(q));
  }

  Receiver in_place_;
  Receiver* ways_[2];
  std::vector<Sequence> prompts_;
  GeneratorEngine engine_;
  uint64_t asked_ = 0;
};
constexpr int kBeside = 0, kInPlace = 1;
constexpr int kVersionsOfRound = 5;

struct Interval {
  int kind = 0;  // 0: without a version; else 1 + the way it was taken in
  double tokens = 0, seconds = 0;
  double step = 0;     // median
  double stalled = 0;  // seconds in which it did not decode
  double cost = 0;     // seconds: those, and what the steps in which the version arrived and that came next were longer
};

Interval decode_interval(Decoding& decoding, int kind, double seconds, const std::function<LinkPacket*()>& arrived) {
  Interval found;
  found.kind = kind;
  const int64_t tokens = decoding.tokens();
  const double began = clock_s();
  std::vector<double> steps;
  size_t taken = 0;  // after so many steps
  while (clock_s() - began < seconds || (kind != 0 && taken == 0)) {
    if (LinkPacket* const version = kind != 0 && taken == 0 ? arrived() : nullptr) {
      found.stalled = timed([&] {
        decoding.take(kind - 1, *version);
        decoding.sample_with(kind - 1);
      });
      taken = std::max<size_t>(1, steps.size());
    }
    steps.push_back(timed([&] { decoding.step(); }));
  }
  found.seconds = clock_s() - began;
  found.tokens = static_cast<double>(decoding.tokens() - tokens);
  found.step = middle(steps);
  if (taken == 0) return found;
  found.cost = found.stalled;
  for (size_t i = taken - 1; i <= taken && i < steps.size(); ++i) found.cost += steps[i] - found.step;
  return found;
}

// The order is the same from its end and another one each round, so that what grows with the contexts falls on all alike.
std::string decode_round(int round, double seconds, int batch, Receiver& receiver, Inbox& inbox, Links& links, PeerId head) {
  Decoding decoding(receiver, batch);
  const auto next = [&] { links.send(head, answers("next")); };
  next();
  LinkPacket version = inbox.take();
  for (const int way : {kBeside, kInPlace}) {
    decoding.take(way, version);
    decoding.sample_with(way);
    decoding.step();
  }
  std::string said;
  for (const int i : {0, 1, 2, 2, 1, 0}) {
    const int kind = (i + round) % 3, way = std::max(kind, 1) - 1;
    decoding.sample_with(way);
    decoding.step();
    if (kind != 0) next();
    const Interval found = decode_interval(decoding, kind, seconds, [&] {
      if (inbox.empty()) return static_cast<LinkPacket*>(nullptr);
      version = inbox.take();
      return &version;
    });
    said += fmt::format("{} {} {} {} {} {} ", kind, found.tokens, found.seconds, found.step, found.stalled, found.cost);
    if (kind == 0) continue;
    decoding.take(1 - way, version);
    decoding.sample_with(1 - way);
  }
  return said;
}

// ---- the trainer ------------------------------------------------------------------------------------------------------

struct Noise {
  uint64_t x;
  float operator()() {  // about N(0, 1)
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    float sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<float>((x >> (16 * i)) & 0xffff) * (1.0f / 65536);
    return (sum - 2) * 1.7320508f;
  }
};

// masters += lr x what Adam's ratio of moments is like: .21 noise + .09 drift, within 1.
void adam_like(WeightSet& masters, double lr, uint64_t round) {
  constexpr int64_t kBlock = 1 << 16;
  for (size_t p = 0; p < masters.specs().size(); ++p) {
    const View& values = masters.param(p);
    float* const m = reinterpret_cast<float*>(values.data);
    parallel_tasks((values.size() + kBlock - 1) / kBlock, [&](int64_t b) {
      const uint64_t place = (static_cast<uint64_t>(p) << 32) + static_cast<uint64_t>(b) + 1;
      Noise drift{place * 0x9e3779b97f4a7c15u}, noise{(place + (round << 20)) * 0xd1342543de82ef95u | 1};
      const int64_t end = std::min(values.size(), (b + 1) * kBlock);
      for (int64_t i = b * kBlock; i < end; ++i)
        m[i] -= static_cast<float>(lr) * std::clamp(0.21f * noise() + 0.09f * drift(), -1.0f, 1.0f);
    });
  }
}

// The share of the lines of memory (64 bytes) that have a change.
double touched_lines(const WeightSet& a, const WeightSet& b) {
  const auto bytes = static_cast<size_t>(a.flat().size()) * 2;
  int64_t touched = 0;
  for (size_t at = 0; at + 64 <= bytes; at += 64) touched += std::memcmp(a.flat().data + at, b.flat().data + at, 64) != 0;
  return static_cast<double>(touched) * 64 / static_cast<double>(bytes);
}

double density_of(const WeightSet& a, const WeightSet& b) {
  const auto* const x = reinterpret_cast<const uint16_t*>(a.flat().data);
  const auto* const y = reinterpret_cast<const uint16_t*>(b.flat().data);
  int64_t changed = 0;
  for (int64_t i = 0; i < a.flat().size(); ++i) changed += x[i] != y[i];
  return static_cast<double>(changed) / static_cast<double>(a.flat().size());
}

class Trainer {
 public:
  Trainer(const BenchModel& model, BenchHead& head)
      : head_(head), masters_(bench_weights(open_device("cpu"), model.config, DType::f32)) {
    for (auto& set : sets_) set = std::make_shared<WeightSet>(open_device("cpu"), model.config, DType::bf16);
  }

  void learn(double lr) { adam_like(*masters_, lr, ++rounds_); }

  // The next version as a packet.
  LinkPacket publish(SyncCase& c) {
    const std::shared_ptr<WeightSet>& next = sets_[static_cast<size_t>(version_ + 1) % sets_.size()];
    c.convert = timed([&] {
      Context ctx(next->device());
      copy_weights(ctx, *masters_, *next);
    });
    auto message = std::make_shared<WeightsMessage>();
    message->version = ++version_;
    message->weights = next;
    c.hash = timed([&] { message->hash = published_hash(*next, version_); });
    LinkPacket packet;
    c.encode = timed([&] {
      const Envelope envelope{Envelope::Kind::payload, 0, version_ + 1, message};
      packet = payload_packet(envelope, message_codec(), sent_.get(), 0, 1);
    });
    c.bytes = static_cast<double>(packet.body.size());
    for (const WireFrame& frame : packet.frames) c.bytes += static_cast<double>(frame.size());
    c.whole_bytes = static_cast<double>(next->flat().size()) * 2;
    if (sent_) before_ = sent_->weights;
    sent_ = message;
    return packet;
  }

  // The same, taken in by the other end.
  SyncCase sync() {
    SyncCase c;
    LinkPacket packet = publish(c);
    const double sent_at = clock_s();
    double held_at = 0;
    head_.send(std::move(packet));
    std::istringstream(head_.take().body) >> c.decode >> c.apply >> held_at;
    c.link = held_at - sent_at - c.decode - c.apply;
    c.total = c.convert + c.hash + c.encode + held_at - sent_at;
    return c;
  }

  bool other_end_is_right() {
    head_.send(asks(kAskHash));
    return head_.take().body == sent_->hash.hex();
  }
  double density() const { return density_of(*before_, *sent_->weights); }
  double touched_bytes() const { return touched_lines(*before_, *sent_->weights) * weight_bytes(); }
  double weight_bytes() const { return static_cast<double>(sets_[0]->flat().size()) * 2; }

 private:
  BenchHead& head_;
  std::shared_ptr<WeightSet> masters_;
  std::vector<std::shared_ptr<WeightSet>> sets_ = std::vector<std::shared_ptr<WeightSet>>(2);
  std::shared_ptr<const WeightsMessage> sent_;
  std::shared_ptr<const WeightSet> before_;
  int64_t version_ = -1;
  uint64_t rounds_ = 0;
};

// Bytes a second.
double memcpy_rate(std::string& from, std::string& to, int threads) {
  const size_t part = from.size() / static_cast<size_t>(threads);
  double best = 0;
  for (int r = 0; r < 4; ++r) {
    const double s = timed([&] {
      parallel_tasks(threads, [&](int64_t t) {
        const size_t at = static_cast<size_t>(t) * part;
        std::memcpy(to.data() + at, from.data() + at, part);
      });
      asm volatile("" : : "r"(to.data()) : "memory");
    });
    best = std::max(best, static_cast<double>(part) * threads / s);
  }
  return best;
}

double link_rate(BenchHead& head, const std::string& bulk) {
  constexpr int kPackets = 4;
  double best = 0;
  for (int r = 0; r < 3; ++r) {
    const double s = timed([&] {
      for (int i = 0; i < kPackets; ++i) {
        LinkPacket packet = asks(kAskBulk);
        for (size_t at = 0; at < bulk.size(); at += kMiBytes)
          packet.frames.emplace_back(nullptr, std::string_view(bulk).substr(at, kMiBytes));
        head.send(std::move(packet));
      }
      for (int i = 0; i < kPackets; ++i) head.take();
    });
    best = std::max(best, static_cast<double>(bulk.size()) * kPackets / s);
  }
  return best;
}

// The learning rate at which so many values change.
double rate_of_density(Trainer& trainer, double lr, double density) {
  for (int i = 0; i < 3; ++i) {
    trainer.learn(lr);
    trainer.sync();
    lr *= density / trainer.density();
  }
  return lr;
}

DecodeCase decode_case(const std::string& name, Trainer& trainer, BenchHead& head, double lr, double memcpy_all,
                       const SyncOptions& o) {
  DecodeCase d;
  d.name = name;
  d.interval_s = o.decode_s;
  std::vector<double> steps, stalled[2], cost[2], sender;
  double tokens[3] = {}, seconds[3] = {};
  for (int round = 0; round < o.decode_rounds; ++round) {
    std::vector<LinkPacket> versions;
    for (int v = 0; v < kVersionsOfRound; ++v) {
      trainer.learn(lr);
      SyncCase ignored;
      versions.push_back(trainer.publish(ignored));
    }
    head.send(asks(kAskDecode, fmt::format("{} {} {}", round, o.decode_s, o.decode_batch)));
    LinkPacket asked = head.take();
    for (LinkPacket& packet : versions) {
      const double began = cpu_s();
      head.send(std::move(packet));
      asked = head.take();  // for the next one, or what was found
      sender.push_back(cpu_s() - began);
    }
    std::istringstream found(asked.body);
    for (Interval i; found >> i.kind >> i.tokens >> i.seconds >> i.step >> i.stalled >> i.cost;) {
      tokens[i.kind] += i.tokens;
      seconds[i.kind] += i.seconds;
      if (i.kind == 0) {
        steps.push_back(i.step);
      } else {
        stalled[i.kind - 1].push_back(i.stalled);
        cost[i.kind - 1].push_back(i.cost);
      }
    }
  }
  d.tokens_per_s = tokens[0] / seconds[0];
  d.step_s = middle(steps);
  d.floor_s = trainer.touched_bytes() / memcpy_all;
  d.sender_s = middle(sender);
  const auto taken_in = [&](int way) {
    return TakenIn{middle(cost[way]), middle(stalled[way]), 1 - tokens[1 + way] / seconds[1 + way] / d.tokens_per_s};
  };
  d.beside = taken_in(kBeside);
  d.in_place = taken_in(kInPlace);
  return d;
}

void bench_model(SyncReport& report, const BenchModel& model, const SyncOptions& o) {
  BenchHead head({"sync", "--peer"});
  Trainer trainer(model, head);
  trainer.learn(0);
  const SyncCase first = trainer.sync();
  bool verified = trainer.other_end_is_right();
  std::string from(static_cast<size_t>(first.whole_bytes), '\1'), to(from.size(), '\2');
  const std::string bulk(kWholeBulk, 'x');
  const auto measure = [&](const std::string& name, double lr) {
    SyncCase best;
    best.total = INFINITY;
    double one = 0, all = 0, rate = 0;
    for (int round = -kWarmRounds; round < o.rounds && verified; ++round) {
      trainer.learn(lr);
      SyncCase c = trainer.sync();
      verified = trainer.other_end_is_right();
      if (round < 0) continue;
      c.density = trainer.density();
      if (c.total < best.total) best = c;
      one = std::max(one, memcpy_rate(from, to, 1));
      all = std::max(all, memcpy_rate(from, to, cpu_threads()));
      rate = std::max(rate, link_rate(head, bulk));
    }
    best.name = model.name + " " + name;
    best.verified = verified;
    best.memcpy_one = one;
    best.memcpy_all = all;
    best.link_rate = rate;
    best.link_floor = best.bytes / rate;
    best.join = first.link + first.decode + first.apply;
    report.cases.push_back(best);
  };
  measure(fmt::format("lr {:g}", o.lr), o.lr);
  const double lr = rate_of_density(trainer, o.lr, o.density);
  measure(fmt::format("density {:g}", o.density), lr);
  if (o.decode_rounds > 0 && verified) {
    from = to = {};
    report.decoding.push_back(decode_case(model.name, trainer, head, lr, report.cases.back().memcpy_all, o));
  }
  head.send([] {
    LinkPacket stop;
    stop.kind = PacketKind::stop;
    return stop;
  }());
}

}  // namespace

bool SyncReport::ok() const {
  return std::all_of(cases.begin(), cases.end(), [](const SyncCase& c) { return c.verified; });
}

SyncReport bench_sync(const std::vector<BenchModel>& models, const SyncOptions& options, const std::string& machine) {
  SyncReport report;
  report.machine = machine;
  for (const BenchModel& model : models) bench_model(report, model, options);
  return report;
}

int sync_peer(const std::string& address) {
  Inbox inbox;
  const auto links = dial_bench_head(address, inbox);
  const PeerId head = inbox.wait_peer();
  Receiver receiver;
  for (;;) {
    const LinkPacket packet = inbox.take();
    if (packet.kind == PacketKind::stop) return 0;
    if (packet.kind == PacketKind::payload) {
      receiver.take(packet);
      links->send(head, receiver.said());
      receiver.weights.catch_up();  // as a generator does once it samples with the new ones
    } else if (packet.number == kAskHash) {
      links->send(head, answers(receiver.weights.held()->hash().hex()));
    } else if (packet.number == kAskBulk) {
      links->send(head, answers(""));
    } else {
      double seconds = 0;
      int batch = 1, round = 0;
      std::istringstream(packet.body) >> round >> seconds >> batch;
      links->send(head, answers(decode_round(round, seconds, batch, receiver, inbox, *links, head)));
    }
  }
}

std::string sync_table(const SyncReport& r) {
  std::string s = r.machine + "\n\n";
  for (const SyncCase& c : r.cases) {
    s += fmt::format("{}: {}\n", c.name, c.verified ? "verified" : "NOT what was published");
    if (!c.verified) continue;
    s += fmt::format("  {:.2f} % of the values change; {:.2f} MB of {:.0f} MB: {:.0f} times smaller\n", 100 * c.density,
                     c.bytes * 1e-6, c.whole_bytes * 1e-6, c.times_smaller());
    s += fmt::format(
        "  ms: convert {:.1f}, hash {:.1f}, encode {:.1f}, link {:.1f} (floor {:.1f} at {:.2f} GB/s), unpack {:.1f}, "
        "apply {:.1f}; in all {:.1f}\n",
        c.convert * 1e3, c.hash * 1e3, c.encode * 1e3, c.link * 1e3, c.link_floor * 1e3, c.link_rate * 1e-9, c.decode * 1e3,
        c.apply * 1e3, c.total * 1e3);
    s += fmt::format(
        "  {:.2f} GB/s of weights: {:.2f} of memcpy ({:.1f} GB/s, all threads; {:.1f} one); the whole set {:.0f} ms\n",
        c.whole_bytes / c.total * 1e-9, c.of_memcpy(), c.memcpy_all * 1e-9, c.memcpy_one * 1e-9, c.join * 1e3);
  }
  for (const DecodeCase& d : r.decoding) {
    s += fmt::format(
        "{} decoding {:.0f} tokens/s, a step {:.1f} ms; a version (floor {:.1f} ms; the sender's end of the link takes "
        "{:.1f} ms of a core) every {:g} s costs\n",
        d.name, d.tokens_per_s, d.step_s * 1e3, d.floor_s * 1e3, d.sender_s * 1e3, d.interval_s);
    for (const auto& [way, t] :
         {std::pair("applied to the set in use", d.in_place), std::pair("to the one before, and then to the other", d.beside)})
      s += fmt::format("  {}: {:.1f} ms, {:.1f} of them taking it in: {:.1f} % ({:.1f} % fewer tokens were counted)\n", way,
                       t.cost_s * 1e3, t.stalled_s * 1e3, 100 * t.cost_s / d.interval_s, 100 * t.fewer_tokens);
  }
  return s;
}

nlohmann::json sync_json(const SyncReport& r) {
  nlohmann::json cases = nlohmann::json::array(), decoding = nlohmann::json::array();
  for (const SyncCase& c : r.cases) {
    nlohmann::json j{{"name", c.name}, {"verified", c.verified}};
    if (c.verified)
      j.update({{"density", c.density},
                {"bytes", c.bytes},
                {"whole_bytes", c.whole_bytes},
                {"times_smaller", c.times_smaller()},
                {"convert_s", c.convert},
                {"hash_s", c.hash},
                {"encode_s", c.encode},
                {"link_s", c.link},
                {"link_floor_s", c.link_floor},
                {"unpack_s", c.decode},
                {"apply_s", c.apply},
                {"total_s", c.total},
                {"whole_set_s", c.join},
                {"of_memcpy", c.of_memcpy()},
                {"memcpy_gb_per_s", c.memcpy_all * 1e-9},
                {"memcpy_one_thread_gb_per_s", c.memcpy_one * 1e-9},
                {"link_gb_per_s", c.link_rate * 1e-9}});
    cases.push_back(std::move(j));
  }
  const auto taken = [](const TakenIn& t) {
    return nlohmann::json{{"cost_s", t.cost_s}, {"stalled_s", t.stalled_s}, {"fewer_tokens", t.fewer_tokens}};
  };
  for (const DecodeCase& d : r.decoding)
    decoding.push_back({{"name", d.name},
                        {"tokens_per_s", d.tokens_per_s},
                        {"step_s", d.step_s},
                        {"interval_s", d.interval_s},
                        {"floor_s", d.floor_s},
                        {"sender_cpu_s", d.sender_s},
                        {"in_place", taken(d.in_place)},
                        {"beside", taken(d.beside)}});
  return {{"what", "sync"}, {"machine", r.machine}, {"verified", r.ok()}, {"cases", cases}, {"decoding", decoding}};
}

}  // namespace r1::bench
