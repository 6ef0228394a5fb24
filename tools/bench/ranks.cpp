#include "tools/bench/ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>

#include "actors/far_ranks.h"
#include "actors/rank_words.h"
#include "base/clock.h"
#include "base/error.h"
#include "kernels/ops.h"
#include "kernels/ring_ranks.h"
#include "runtime/nodes/node_words.h"
#include "runtime/nodes/ring_links.h"
#include "tools/bench/bench_link.h"

namespace r1::bench {
namespace {

constexpr int kEqualSteps = 2;
constexpr int kExchanges = 5;
constexpr uint64_t kExchangeRing = 1, kTrainingRing = 2;
constexpr size_t kLinkBulk = size_t{256} << 20;  // by which the link is measured, in frames of 1 MiB

double seconds_now() { return SystemClock().now_s(); }

TrainerConfig ranked_config(const TrainOptions& o, int64_t ranks) {
  TrainerConfig c;
  c.objective = Objective::pretrain;
  c.lr = 1e-3;
  c.micro_batch_tokens = o.micro_batch_tokens;
  c.recompute = o.recompute;
  c.precision = o.type;
  c.ranks = ranks;
  return c;
}

// In the first process: to one of the others. It is heard only when this end waits for it.
class ToPeer final : public RankChannel {
 public:
  explicit ToPeer(BenchHead& head) : head_(head) {}
  void send(ChannelMessage message) override { head_.send(rank_packet(0, 0, std::move(message))); }
  ChannelMessage receive(double) override { return rank_word(head_.take()); }
  void give_up() override {}

 private:
  BenchHead& head_;
};

class ToFirst final : public MessageChannel {
 public:
  explicit ToFirst(const std::string& address) : links_(dial_bench_head(address, inbox_)), first_(inbox_.wait_peer()) {}
  void send(ChannelMessage message) override { links_->send(first_, rank_packet(0, 0, std::move(message))); }
  // Between two orders others may take long: it is the first process that has a limit.
  ChannelMessage receive(double) override { return rank_word(inbox_.take()); }
  LinkPacket take() { return inbox_.take(); }

 private:
  Inbox inbox_;
  const std::unique_ptr<Links> links_;
  const PeerId first_;
};

RingLinksOptions ring_options() {
  RingLinksOptions options;
  options.self = bench_terms().self;
  return options;
}

// Counts what is sent to the next rank.
class CountedRing final : public RankRing {
 public:
  CountedRing(const RingInvitation& told, std::atomic<int64_t>& bytes)
      : ring_(ring_links(told, ring_options())), bytes_(bytes) {}
  std::string address() const override { return ring_->address(); }
  void join(const std::string& previous) override { ring_->join(previous); }
  std::unique_ptr<MessageChannel> to_previous() override { return ring_->to_previous(); }
  std::unique_ptr<MessageChannel> to_next() override { return std::make_unique<Counted>(ring_->to_next(), bytes_); }
  void give_up(std::exception_ptr why) override { ring_->give_up(std::move(why)); }

 private:
  class Counted final : public MessageChannel {
   public:
    Counted(std::unique_ptr<MessageChannel> end, std::atomic<int64_t>& bytes) : end_(std::move(end)), bytes_(bytes) {}
    void send(ChannelMessage message) override {
      bytes_ += static_cast<int64_t>(message.bytes.size());
      end_->send(std::move(message));
    }
    ChannelMessage receive(double patience_s) override { return end_->receive(patience_s); }

   private:
    const std::unique_ptr<MessageChannel> end_;
    std::atomic<int64_t>& bytes_;
  };
  const std::unique_ptr<RankRing> ring_;
  std::atomic<int64_t>& bytes_;
};

// What a step of P parameters moves: gradients to their shards, and weights from them.
class Exchange {
 public:
  Exchange(Device& device, int64_t parameters, DType type)
      : ctx_(device), gradients_(device, DType::f32, {parameters}), weights_(device, type, {parameters}) {
    run(ctx_, Fill{gradients_, 1});
    run(ctx_, Fill{weights_, 1});
  }
  void operator()(Collective& together) {
    const std::vector<ElementRange> shards = equal_ranges(gradients_.view().size(), together.ranks(), 32);
    together.reduce_scatter(ctx_, gradients_, shards);
    together.all_gather(ctx_, weights_, shards);
  }

 private:
  Context ctx_;
  const Tensor gradients_, weights_;
};

double measured_link(BenchHead& head, const std::string& bulk) {
  double best = 0;
  for (int r = 0; r < 4; ++r) {  // the first one warms up
    LinkPacket packet;
    packet.kind = PacketKind::payload;
    for (size_t at = 0; at < bulk.size(); at += size_t{1} << 20)
      packet.frames.emplace_back(nullptr, std::string_view(bulk).substr(at, size_t{1} << 20));
    const double began = seconds_now();
    head.send(std::move(packet));
    head.take();
    if (r > 0) best = std::max(best, static_cast<double>(bulk.size()) / (seconds_now() - began));
  }
  return best;
}

using Heads = std::vector<std::unique_ptr<BenchHead>>;

std::vector<std::string> rank_names(int64_t ranks) {
  std::vector<std::string> all;
  for (int64_t r = 0; r < ranks; ++r) all.push_back(fmt::format("rank {}", r));
  return all;
}

void measure_exchange(Device& device, Heads& heads, const TrainerConfig& config, int64_t parameters, RanksCase& r) {
  const std::vector<RingInvitation> told = new_ring(kExchangeRing, rank_names(config.ranks));
  std::atomic<int64_t> bytes{0};
  CountedRing ring(told[0], bytes);
  std::vector<std::string> places = {ring.address()};
  for (size_t i = 0; i < heads.size(); ++i) {
    ToPeer peer(*heads[i]);
    peer.send(channel_message("Exchange", encode(RankBegin{told[i + 1], config})));
    places.emplace_back(peer.receive(kPatience_s).bytes);
  }
  for (size_t i = 0; i < heads.size(); ++i) ToPeer(*heads[i]).send(channel_message("Before", places[i]));
  ring.join(told[0].dials() ? places.back() : "");
  const std::unique_ptr<Collective> together = ring_rank(ring.to_previous(), ring.to_next(), 0, config.ranks);
  Exchange exchange(device, parameters, config.precision);
  for (int i = 0; i < kExchanges; ++i) {
    bytes = 0;
    const double began = seconds_now();
    exchange(*together);
    const double s = seconds_now() - began;
    if (i == 1 || (i > 1 && s < r.exchange_s)) r.exchange_s = s;
  }
  r.sent_bytes = static_cast<double>(bytes);
  // Nobody leaves the ring before all have come around it.
  for (const auto& head : heads) ToPeer(*head).receive(kPatience_s);
  for (const auto& head : heads) ToPeer(*head).send(channel_message("Leave"));
}

double best_step(Learner& learner, const TrainBatch& batch, int repetitions) {
  double best = 0;
  for (int i = 0; i < repetitions; ++i) {
    const double began = seconds_now();
    learner.train(batch);
    const double s = seconds_now() - began;
    best = i == 0 ? s : std::min(best, s);
  }
  return best;
}

RanksCase bench_ranks_of(Device& device, const BenchModel& model, int64_t ranks, const TrainOptions& o) {
  RanksCase r;
  r.name = fmt::format("{}, {} ranks", model.name, ranks);
  const TrainerConfig config = ranked_config(o, ranks);
  const auto weights = bench_weights(device, model.config, DType::f32);
  const TrainBatch batch{bench_sequences(model.config, o.sequences, o.length + 1, 4)};
  const int64_t parameters = model.config.parameter_count();
  r.parameters = static_cast<double>(parameters);
  r.tokens = static_cast<double>(o.sequences * o.length);
  r.needed_bytes = (4.0 + static_cast<double>(dtype_size(o.type))) * r.parameters * static_cast<double>(ranks - 1) /
                   static_cast<double>(ranks);
  {
    TrainerEngine alone(device, ranked_config(o, 1), *weights);
    alone.train(batch);
    r.alone_s = best_step(alone, batch, o.repetitions);
  }
  Hash128 expected;
  {
    const auto threads = thread_ranked_learner(device, config, *weights);
    for (int i = 0; i < kEqualSteps; ++i) threads->train(batch);
    expected = threads->masters_hash();
    r.threads_s = best_step(*threads, batch, o.repetitions);
  }
  Heads heads;
  for (int64_t rank = 1; rank < ranks; ++rank)
    heads.push_back(std::make_unique<BenchHead>(std::vector<std::string>{
        "train", "--arch", model.name, "--dtype", o.type == DType::bf16 ? "bf16" : "f32", "--threads",
        std::to_string(std::max(1, cpu_threads() / static_cast<int>(ranks))), "--shape", o.shape, "--ranks-peer"}));
  const std::string bulk(kLinkBulk, 'x');
  r.link_rate = measured_link(*heads[0], bulk);
  measure_exchange(device, heads, config, parameters, r);
  std::atomic<int64_t> bytes{0};
  std::vector<FarRank> far;
  for (int64_t rank = 1; rank < ranks; ++rank)
    far.push_back({fmt::format("rank {}", rank), std::make_unique<ToPeer>(*heads[static_cast<size_t>(rank - 1)])});
  const int all = cpu_threads();
  set_cpu_threads(std::max(1, all / static_cast<int>(ranks)));
  const auto processes =
      far_ranked_learner(*device_engines(device), "trainer", config, *weights, kTrainingRing, "rank 0", std::move(far),
                         [&](const RingInvitation& told) { return std::make_unique<CountedRing>(told, bytes); });
  for (int i = 0; i < kEqualSteps; ++i) {
    bytes = 0;
    processes->train(batch);
  }
  r.step_bytes = static_cast<double>(bytes);
  r.verified = processes->masters_hash() == expected;
  if (r.verified) r.processes_s = best_step(*processes, batch, o.repetitions);
  set_cpu_threads(all);
  return r;
}

}  // namespace

bool RanksReport::ok() const {
  return std::all_of(cases.begin(), cases.end(), [](const RanksCase& c) { return c.verified; });
}

RanksReport bench_ranks(Device& device, const std::vector<BenchModel>& models, int64_t ranks, const TrainOptions& options,
                        const std::string& machine) {
  RanksReport report{machine, {}};
  for (const BenchModel& model : models) report.cases.push_back(bench_ranks_of(device, model, ranks, options));
  return report;
}

int ranks_peer(Device& device, const BenchModel& model, DType type, const std::string& address) {
  ToFirst first(address);
  const MakeRankRing make_ring = [](const RingInvitation& told) { return ring_links(told, ring_options()); };
  LinkPacket packet = first.take();
  for (; packet.kind == PacketKind::payload; packet = first.take()) first.send(channel_message("it is here"));
  {
    const ChannelMessage word = rank_word(std::move(packet));
    const RankBegin begin = decode_rank_begin(word.bytes);
    const auto ring = make_ring(begin.ring);
    first.send(channel_message("Place", ring->address()));
    ring->join(std::string(first.receive(kPatience_s).bytes));
    const auto together = ring_rank(ring->to_previous(), ring->to_next(), begin.ring.rank, begin.ring.ranks);
    Exchange exchange(device, model.config.parameter_count(), type);
    for (int i = 0; i < kExchanges; ++i) exchange(*together);
    first.send(channel_message("Done"));
    first.receive(kPatience_s);
  }
  try {
    serve_rank(
        *device_engines(device), "trainer", first, [&] { return bench_weights(device, model.config, DType::f32); }, make_ring);
  } catch (const Error&) {  // the first process has seen enough, or says why not
  }
  return 0;
}

std::string ranks_table(const RanksReport& report) {
  std::string s = report.machine + "\n\n";
  for (const RanksCase& c : report.cases) {
    s += fmt::format("{}: {}\n", c.name,
                     c.verified ? "verified: processes have the bits of threads" : "processes have OTHER bits than threads");
    if (!c.verified) continue;
    s += fmt::format("  a step of {:.0f} tokens: {:.1f} ms alone, {:.1f} ms as threads, {:.1f} ms as processes\n", c.tokens,
                     c.alone_s * 1e3, c.threads_s * 1e3, c.processes_s * 1e3);
    s += fmt::format("  each rank sends {:.2f} MB a step, {:.2f} MB of them gradients and weights (a ring needs {:.2f} MB)\n",
                     c.step_bytes * 1e-6, c.sent_bytes * 1e-6, c.needed_bytes * 1e-6);
    s += fmt::format("  the exchange alone: {:.1f} ms, floor {:.1f} ms at {:.2f} GB/s of one link: {:.2f} of it\n",
                     c.exchange_s * 1e3, c.floor_s() * 1e3, c.link_rate * 1e-9, c.floor_s() / c.exchange_s);
  }
  return s;
}

nlohmann::json ranks_json(const RanksReport& report) {
  nlohmann::json cases = nlohmann::json::array();
  for (const RanksCase& c : report.cases) {
    nlohmann::json j{{"name", c.name}, {"verified", c.verified}, {"parameters", c.parameters}, {"tokens_per_step", c.tokens}};
    if (c.verified)
      j.update({{"alone_ms", c.alone_s * 1e3},
                {"threads_ms", c.threads_s * 1e3},
                {"processes_ms", c.processes_s * 1e3},
                {"exchange_ms", c.exchange_s * 1e3},
                {"floor_ms", c.floor_s() * 1e3},
                {"link_gb_per_s", c.link_rate * 1e-9},
                {"sent_bytes", c.sent_bytes},
                {"needed_bytes", c.needed_bytes},
                {"step_bytes", c.step_bytes}});
    cases.push_back(std::move(j));
  }
  return {{"what", "ranks"}, {"machine", report.machine}, {"verified", report.ok()}, {"cases", cases}};
}

}  // namespace r1::bench
