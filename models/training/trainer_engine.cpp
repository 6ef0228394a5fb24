#include "models/training/trainer_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "kernels/ops.h"
#include "models/finite.h"
#include "models/training/expert_load.h"
#include "models/training/mtp_loss.h"
#include "models/training/objective.h"
#include "models/training/optimizer.h"
#include "models/training/trainer_flaws.h"
#include "models/training/trainer_state.h"
#include "models/training/weight_buffers.h"

namespace r1 {
namespace {

// f32 copies of `start`; a reward model gets its scalar head (zeros) in place of a vocabulary head.
std::unique_ptr<WeightSet> make_masters(const TrainerConfig& config, const WeightSet& start) {
  ModelConfig model = start.config();
  if (config.objective == Objective::reward_model) model.scalar_head = true;
  R1_CHECK(model.scalar_head == (config.objective == Objective::reward_model), "a scalar head is trained by reward_model only");
  return std::make_unique<WeightSet>(convert_weights(start, model, DType::f32));
}

Tensor copy_of(Context& ctx, const View& values) {
  Tensor copy(*ctx.device, values.dtype, {values.size()});
  if (values.size() > 0) run(ctx, Copy{values, copy});
  return copy;
}

// What is imitated is taught over the whole vocabulary, padding too; what was sampled had no more ids than the tokenizer.
ModelConfig loss_config(const TrainerConfig& config, ModelConfig model) {
  if (config.objective != Objective::grpo) model.token_ids = 0;
  return model;
}

int64_t counted_tokens(const Sequence& s, Objective objective) {
  if (objective == Objective::pretrain) return std::max<int64_t>(static_cast<int64_t>(s.tokens.size()) - 1, 0);
  if (s.trainable.empty()) return 0;
  return std::count_if(s.trainable.begin() + 1, s.trainable.end(), [](uint8_t t) { return t != 0; });
}

// `all` in that order. Copied into `copies` only where the order is another one.
template <class T>
std::span<const T> in_order(const std::vector<T>& all, std::span<const int64_t> order, std::vector<T>& copies) {
  if (all.empty() || std::is_sorted(order.begin(), order.end())) return all;
  copies.clear();
  for (const int64_t i : order) copies.push_back(all[static_cast<size_t>(i)]);
  return copies;
}

}  // namespace

struct TrainerEngine::Impl {
  Device& device;
  TrainerConfig config;
  std::unique_ptr<Collective> together;  // null: there is one rank
  // All masters, as the first rank has them: of other ranks' shards those of the last gather(). Null at other ranks in bf16,
  // which keep their shard alone.
  std::unique_ptr<WeightSet> whole;
  Tensor own_shard, own_biases;
  // What forward and backward use is the masters themselves in f32 (then `working` is null), a rounded copy in bf16.
  WeightBuffers buffers;
  std::shared_ptr<WeightSet> working;
  std::shared_ptr<const WeightSet> handed_out;  // of the current step; null: nobody asked
  Model model;
  Lanes lanes;
  std::vector<ElementRange> shards;  // of what is trained, by rank
  Optimizer optimizer;
  int64_t version;
  Context meeting;  // of what the ranks do together

  Impl(Device& d, const TrainerConfig& c, const WeightSet& start, int64_t first_version, std::unique_ptr<Collective> ranks)
      : device(d),
        config(c),
        together(std::move(ranks)),
        whole(make_masters(c, start)),
        buffers(d, whole->config(), c.precision),
        working(c.precision == DType::f32 ? nullptr : buffers.take()),
        model(d, loss_config(c, whole->config())),
        lanes(d, whole->config()),
        shards(optimizer_shards(*whole, c, c.ranks)),
        optimizer(*whole, c, lanes.size() > 1, shards[static_cast<size_t>(rank())]),
        version(first_version),
        meeting(d) {
    R1_CHECK(&start.device() == &d, "start weights are on the trainer's device");
    R1_CHECK(c.ranks == (together ? together->ranks() : 1), "as many engines as ranks");
    const std::string flaw = flaw_of(c, whole->config());
    R1_CHECK(flaw.empty(), flaw);
    if (working) copy_weights(meeting, *whole, *working);
    if (working && rank() > 0) {
      const Masters all = masters_in(*whole, optimizer.shard());
      own_shard = copy_of(meeting, all.shard);
      if (all.biases) own_biases = copy_of(meeting, all.biases);
      device.finish();
      whole = nullptr;
    }
    device.finish();
  }

  int64_t rank() const { return together ? together->rank() : 0; }
  const WeightSet& weights() const { return working ? *working : *whole; }
  Masters masters() const {
    return whole ? masters_in(*whole, optimizer.shard()) : Masters{own_shard, own_biases ? own_biases.view() : View{}};
  }
  TrainerState state() { return {weights(), masters(), optimizer, shards, together.get()}; }

  // Where the next weights are written: no memory of what was handed out. What of it `optimizer` leaves alone has its values.
  const WeightSet& next_weights() {
    if (handed_out && working) {
      const auto next = buffers.take();
      Context ctx(device);
      for (const size_t i : optimizer.untouched()) run(ctx, Copy{working->param(i), next->param(i)});
      working = next;
    }
    handed_out = nullptr;
    return weights();
  }

  // The weights are the masters again, after these were loaded.
  void refresh_weights() {
    if (handed_out && working) working = buffers.take();
    handed_out = nullptr;
    if (working && !together) return copy_weights(meeting, *whole, *working);
    if (working) {
      const Masters from = masters();
      const auto& to = working->segments();
      const ElementRange own = optimizer.shard();
      if (own.begin < own.end) run(meeting, Copy{from.shard, to[0].values.slice(own.begin, own.end)});
      if (from.biases) run(meeting, Copy{from.biases, to[1].values});
    }
    spread_weights();
  }

  void load(const StoredState* stored) {
    version = load_trainer_state(stored, state());
    refresh_weights();
    device.finish();
  }

  // Every rank's shard of the weights goes to all others.
  void spread_weights() {
    meeting.arena.reset();
    if (together) together->all_gather(meeting, weights().segments()[0].values, shards);
  }

  // The masters of all ranks, at the first one.
  void gather() {
    if (!together || !working) return;
    StateValues(state()).gather_masters(whole.get());
    device.finish();
  }

  // What every rank says, in the order of ranks.
  template <class T>
  std::vector<T> exchanged(const T& mine) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(int64_t) == 0);
    constexpr auto kWords = static_cast<int64_t>(sizeof(T) / sizeof(int64_t));
    meeting.arena.reset();
    const View all = meeting.arena.alloc(DType::i64, {kWords * together->ranks()});
    upload(all.slice(rank() * kWords, (rank() + 1) * kWords), &mine, sizeof(T));
    together->all_gather(meeting, all, equal_ranges(all.size(), together->ranks(), kWords));
    std::vector<T> out(static_cast<size_t>(together->ranks()));
    download(all, out.data(), out.size() * sizeof(T));
    return out;
  }

  void check(const TrainBatch& batch) const {
    const std::string flaw = flaw_of(batch, config, model.config());
    R1_CHECK(flaw.empty(), flaw);
  }

  // What the sum over tokens is divided by (docs/recipe.md section 4), for a sequence of `own` counted tokens among n with
  // `total`.
  double divisor(double n, double own, double total) const {
    if (config.objective != Objective::grpo || config.loss_mean == LossMean::token) return total;
    return n * (config.loss_mean == LossMean::sequence ? own : static_cast<double>(config.longest_completion));
  }

  // What of the loss's mean the sequences of a batch are, beside the silent ones.
  double share(const TrainBatch& batch) const {
    double own = static_cast<double>(batch.sequences.size()), silent = static_cast<double>(batch.silent_sequences);
    if (config.loss_mean == LossMean::token) {
      own = 0;
      for (const Sequence& s : batch.sequences) own += static_cast<double>(counted_tokens(s, config.objective));
      silent = static_cast<double>(batch.silent_tokens);
    }
    return silent > 0 ? own / (own + silent) : 1;
  }

  // The order in which sequences are cut into mini-batches.
  std::vector<int64_t> order(int64_t sequences, int64_t inner_epoch) const {
    std::vector<int64_t> order(static_cast<size_t>(sequences));
    std::iota(order.begin(), order.end(), int64_t{0});
    if (config.shuffle && config.objective == Objective::grpo && config.mini_batches > 1)
      Rng(rng_key(config.shuffle_key, "mini-batches", static_cast<uint64_t>(version), static_cast<uint64_t>(inner_epoch)))
          .shuffle(order);
    return order;
  }

  // Weights of the tokens of a step: mask and normaliser; `share` as above.
  LossPlan make_plan(std::span<const Sequence> sequences, double share = 1) const {
    LossPlan plan;
    plan.config = &config;
    plan.sequences = sequences;
    plan.sequence_weight.resize(sequences.size(), 0);
    const auto n = static_cast<double>(sequences.size());
    plan.balance_weight = static_cast<float>(config.balance_loss / n);
    if (config.mtp) {
      int64_t predicted = 0;
      for (const Sequence& s : sequences) predicted += mtp_tokens(s);
      if (predicted > 0) plan.mtp_weight = static_cast<float>(config.mtp_weight / static_cast<double>(predicted));
    }
    if (config.objective == Objective::reward_model) {
      std::fill(plan.sequence_weight.begin(), plan.sequence_weight.end(), static_cast<float>(2 / n));
      return plan;
    }
    double total = 0;
    for (const Sequence& s : sequences) total += static_cast<double>(counted_tokens(s, config.objective));
    for (size_t i = 0; i < sequences.size(); ++i) {
      const auto own = static_cast<double>(counted_tokens(sequences[i], config.objective));
      if (own > 0) plan.sequence_weight[i] = static_cast<float>(share / divisor(n, own, total));
    }
    return plan;
  }

  // Micro-batch i is of rank i mod ranks.
  std::vector<MicroBatch> cut(std::span<const Sequence> sequences) const {
    return pack(sequences, pack_rules(config, lanes.size()));
  }
  // f(lane, micro-batch, its index) for those of this rank.
  template <class F>
  void for_own(const std::vector<MicroBatch>& packs, F&& f) {
    const auto n = static_cast<int64_t>(packs.size()), own = (n - rank() + config.ranks - 1) / config.ranks;
    lanes.for_each(own, [&](Lane& lane, int64_t i) {
      const auto at = static_cast<size_t>(i * config.ranks + rank());
      f(lane, packs[at], at);
    });
  }

  // Forward (and backward) of this rank's micro-batches of one step.
  LossTotals run_step(const LossPlan& plan, const std::vector<MicroBatch>& packs, bool learn) {
    std::vector<LossTotals> totals(packs.size());
    for_own(packs,
            [&](Lane& lane, const MicroBatch& m, size_t i) { run_loss(lane, model, weights(), m, plan, learn, totals[i]); });
    LossTotals sum;
    for (const LossTotals& t : totals) sum.add(t);
    return sum;
  }

  // Log-probabilities of all trainable tokens under the weights at the start of the batch (decoupled form), compared for P2.
  std::vector<std::vector<float>> proximal_logprobs(const std::vector<Sequence>& sequences, LossTotals& totals) {
    std::vector<std::vector<float>> out(sequences.size());
    for (size_t i = 0; i < sequences.size(); ++i) out[i].resize(sequences[i].tokens.size(), 0);
    const std::vector<MicroBatch> packs = cut(sequences);
    const auto keep = [&](const MicroBatch& m, std::span<const float> logp) {
      for (size_t n = 0; n < logp.size(); ++n)
        out[static_cast<size_t>(m.row_sequence[n])][static_cast<size_t>(m.row_token[n])] = logp[n];
    };
    std::vector<std::vector<float>> own(packs.size());
    for_own(packs, [&](Lane& lane, const MicroBatch& m, size_t i) {
      own[i] = forward_logprobs(lane, model, weights(), m, config.temperature);
      keep(m, own[i]);
    });
    if (together) share_rows(packs, own, keep);
    for (size_t i = 0; i < sequences.size(); ++i) {
      const Sequence& s = sequences[i];
      for (size_t t = 1; t < s.tokens.size(); ++t) {
        if (s.trainable.empty() || !s.trainable[t] || s.exact.empty() || s.version.empty()) continue;
        if (s.exact[t] && s.version[t] == version)
          totals.gap.compare(out[i][t], s.behaviour_logp[t], static_cast<int64_t>(i), static_cast<int64_t>(t));
      }
    }
    return out;
  }

  // keep(micro-batch, values) for those of other ranks; `own`: the values of the rows of this rank's.
  template <class F>
  void share_rows(const std::vector<MicroBatch>& packs, const std::vector<std::vector<float>>& own, F&& keep) {
    const auto ranks = static_cast<size_t>(config.ranks);
    std::vector<ElementRange> ranges;
    int64_t all = 0;
    for (size_t r = 0; r < ranks; ++r) {
      ranges.push_back({all, all});
      for (size_t i = r; i < packs.size(); i += ranks) all += static_cast<int64_t>(packs[i].rows.size());
      ranges.back().end = all;
    }
    if (all == 0) return;
    std::vector<float> host(static_cast<size_t>(all));
    auto at = host.begin() + ranges[static_cast<size_t>(rank())].begin;
    for (const std::vector<float>& values : own) at = std::copy(values.begin(), values.end(), at);
    meeting.arena.reset();
    const View shared = upload_f32(meeting, host);
    together->all_gather(meeting, shared, ranges);
    host = download_as<float>(shared);
    std::span<const float> rest = host;
    for (size_t r = 0; r < ranks; ++r)
      for (size_t i = r; i < packs.size(); i += ranks) {
        keep(packs[i], rest.first(packs[i].rows.size()));
        rest = rest.subspan(packs[i].rows.size());
      }
  }

  // What a rank says of a step.
  struct StepReport {
    LossTotals totals;
    double squares = 0;  // of its shard of the gradients
  };

  // The gradients of all ranks, summed: each has its own shard, and all have the experts' loads. `report`: of this rank, then
  // of all.
  void meet(Gradients& grads, StepReport& report) {
    meeting.arena.reset();
    together->reduce_scatter(meeting, grads.segments()[0].values, shards);
    for (size_t s = 1; s < grads.segments().size(); ++s) together->all_reduce(meeting, grads.segments()[s].values);
    report.squares = optimizer.squares(grads);
    StepReport sum;
    for (const StepReport& r : exchanged(report)) {
      sum.totals.add(r.totals);
      sum.squares += r.squares;
    }
    report = sum;
  }

  // One optimizer step on `sequences`. Returns its gradient norm, or nothing when no token counts.
  void optimizer_step(const LossPlan& plan, LossTotals& totals, ExpertLoad& load, TrainStats& stats) {
    const std::vector<MicroBatch> packs = cut(plan.sequences);
    stats.micro_batches = std::max(stats.micro_batches, static_cast<int64_t>(packs.size()));
    StepReport report{run_step(plan, packs, true), 0};
    if (packs.empty()) return;
    Gradients* const grads = lanes.sum_gradients(weights());
    if (together)
      meet(*grads, report);
    else
      report.squares = optimizer.squares(*grads);
    const LossTotals& now = report.totals;
    totals.add(now);
    const double norm = std::sqrt(report.squares);
    if (!std::isfinite(norm))
      throw NotFinite(
          fmt::format("the gradient's norm is {} at optimizer step {} (loss {})", norm, optimizer.steps() + 1, now.loss),
          "a smaller learning rate or clip_norm may help");
    const double scale = config.clip_norm > 0 && norm > config.clip_norm ? config.clip_norm / norm : 1;
    const double factor = schedule_factor(config, optimizer.steps());
    const WeightSet& next = next_weights();
    optimizer.step(masters(), *grads, next, factor, scale);
    spread_weights();
    load.add(*grads);
    stats.grad_norm += norm;
    stats.lr = config.lr * factor;
    ++stats.optimizer_steps;
  }

  void finish(const TrainBatch& batch, const LossTotals& t, int64_t losses, TrainStats& stats) const {
    for (const Sequence& s : batch.sequences) stats.tokens += static_cast<int64_t>(s.tokens.size());
    stats.trained_tokens = static_cast<int64_t>(t.tokens) / config.inner_epochs;
    if (losses > 0) {
      stats.loss = t.loss / static_cast<double>(losses);
      stats.balance_loss = t.balance / static_cast<double>(losses);
      stats.mtp_loss = t.mtp_loss / config.mtp_weight / static_cast<double>(losses);
    }
    if (stats.optimizer_steps > 0) stats.grad_norm /= static_cast<double>(stats.optimizer_steps);
    const double n = std::max(t.tokens, 1.0);
    if (config.objective == Objective::grpo) {
      stats.kl = t.kl / n;
      stats.clip_fraction = t.clipped / n;
      stats.ratio_mean = t.ratio / n;
      stats.entropy = t.entropy / n;
    }
    stats.logprob_gap = t.gap;
    if (t.mtp_tokens > 0) stats.mtp_accuracy = t.mtp_right / t.mtp_tokens;
    if (t.pairs > 0) stats.pair_accuracy = t.pairs_right / t.pairs;
  }
};

TrainerEngine::TrainerEngine(Device& device, const TrainerConfig& config, const WeightSet& start, int64_t first_version,
                             std::unique_ptr<Collective> together)
    : impl_(std::make_unique<Impl>(device, config, start, first_version, std::move(together))) {}
TrainerEngine::~TrainerEngine() = default;

int64_t TrainerEngine::version() const { return impl_->version; }

TrainStats TrainerEngine::train(const TrainBatch& batch) {
  Impl& e = *impl_;
  e.check(batch);
  TrainStats stats;
  LossTotals totals;
  ExpertLoad load(e.model.params(), e.config.mtp);
  const bool grpo = e.config.objective == Objective::grpo;
  std::vector<std::vector<float>> proximal;
  if (grpo && e.config.decoupled) proximal = e.proximal_logprobs(batch.sequences, totals);

  const auto n = static_cast<int64_t>(batch.sequences.size());
  const double share = e.share(batch);
  // Pairs are cut as pairs.
  const int64_t unit = e.config.objective == Objective::reward_model ? 2 : 1, parts = e.config.mini_batches;
  int64_t losses = 0;
  std::vector<Sequence> shuffled;
  std::vector<std::vector<float>> shuffled_proximal;
  for (int64_t epoch = 0; epoch < e.config.inner_epochs; ++epoch) {
    const std::vector<int64_t> order = e.order(n, epoch);
    const std::span<const int64_t> numbers = order;
    const auto sequences = in_order(batch.sequences, numbers, shuffled);
    const auto anchors = in_order(proximal, numbers, shuffled_proximal);
    for (int64_t p = 0; p < parts; ++p) {
      const int64_t begin = n / unit * p / parts * unit, end = n / unit * (p + 1) / parts * unit;
      if (begin == end) continue;
      const auto at = static_cast<size_t>(begin), count = static_cast<size_t>(end - begin);
      LossPlan plan = e.make_plan(sequences.subspan(at, count), share);
      plan.numbers = numbers.subspan(at, count);
      if (!anchors.empty())
        plan.proximal = anchors.subspan(at, count);
      else if (grpo && stats.optimizer_steps == 0)
        plan.compare_version = e.version;
      const int64_t before = stats.optimizer_steps;
      e.optimizer_step(plan, totals, load, stats);
      losses += stats.optimizer_steps - before;
    }
  }
  ++e.version;
  e.finish(batch, totals, losses, stats);
  load.finish(e.weights(), stats);
  e.device.finish();
  return stats;
}

TrainStats TrainerEngine::evaluate(const TrainBatch& batch) {
  Impl& e = *impl_;
  e.check(batch);
  TrainStats stats;
  R1_CHECK(!e.together, "one rank evaluates");
  if (!batch.sequences.empty())
    e.finish(batch, e.run_step(e.make_plan(batch.sequences), e.cut(batch.sequences), false), 1, stats);
  return stats;
}

std::shared_ptr<const WeightSet> TrainerEngine::weights() const {
  Impl& e = *impl_;
  if (e.handed_out) return e.handed_out;
  if (e.working) return e.handed_out = e.working;
  const auto copy = e.buffers.take();
  Context ctx(e.device);
  copy_weights(ctx, *e.whole, *copy);
  e.device.finish();
  return e.handed_out = copy;
}

const WeightSet& TrainerEngine::masters() const {
  R1_CHECK(impl_->whole, "the first rank has the masters");
  return *impl_->whole;
}
Hash128 TrainerEngine::masters_hash() const { return masters().hash(); }
void TrainerEngine::gather_masters() { impl_->gather(); }
void TrainerEngine::leave(const std::string& why) {
  if (impl_->together && !why.empty()) impl_->together->say_why(why);
  impl_->together = nullptr;
}

void TrainerEngine::change(const TrainerConfig& config) {
  const std::string flaw = flaw_of_change(impl_->config, config);
  R1_CHECK(flaw.empty(), flaw);
  impl_->config = config;
  impl_->optimizer.change(config);
}

std::function<void()> TrainerEngine::begin_save(const std::filesystem::path& file) const {
  return write_trainer_state(file, impl_->state(), impl_->config.optimizer, impl_->version);
}
void TrainerEngine::give_state() const { give_trainer_state(impl_->state()); }

std::function<void()> TrainerEngine::begin_load(const std::filesystem::path& file) {
  return [this, stored = open_trainer_state(file, impl_->weights(), impl_->config.optimizer)] { impl_->load(&stored); };
}
void TrainerEngine::take_state() { impl_->load(nullptr); }

}  // namespace r1
