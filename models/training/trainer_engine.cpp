#include "models/training/trainer_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "kernels/ops.h"
#include "models/training/expert_load.h"
#include "models/training/mtp_loss.h"
#include "models/training/objective.h"
#include "models/training/optimizer.h"
#include "models/training/trainer_state.h"
#include "models/training/weight_buffers.h"

namespace r1 {
namespace {

// f32 copies of `start`; a reward model gets its scalar head (zeros) in place of a vocabulary head.
WeightSet make_masters(const TrainerConfig& config, const WeightSet& start) {
  ModelConfig model = start.config();
  if (config.objective == Objective::reward_model) model.scalar_head = true;
  R1_CHECK(model.scalar_head == (config.objective == Objective::reward_model), "a scalar head is trained by reward_model only");
  return convert_weights(start, model, DType::f32);
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
  WeightSet masters;
  // What forward and backward use is the masters themselves in f32 (then `working` is null), a rounded copy in bf16.
  WeightBuffers buffers;
  std::shared_ptr<WeightSet> working;
  std::shared_ptr<const WeightSet> handed_out;  // of the current step; null: nobody asked
  Model model;
  Lanes lanes;
  Optimizer optimizer;
  int64_t version;

  Impl(Device& d, const TrainerConfig& c, const WeightSet& start, int64_t first_version)
      : device(d),
        config(c),
        masters(make_masters(c, start)),
        buffers(d, masters.config(), c.precision),
        working(c.precision == DType::f32 ? nullptr : buffers.take()),
        model(d, loss_config(c, masters.config())),
        lanes(d, masters.config()),
        optimizer(masters, c, lanes.size() > 1),
        version(first_version) {
    R1_CHECK(&start.device() == &d, "start weights are on the trainer's device");
    R1_CHECK(c.inner_epochs == 1 || (c.inner_epochs > 1 && c.objective == Objective::grpo), "inner epochs are of grpo");
    R1_CHECK(c.mini_batches >= 1 && c.micro_batch_tokens >= 1, "mini_batches and micro_batch_tokens count from 1");
    R1_CHECK(!c.mtp || (c.objective == Objective::pretrain && c.mtp_weight > 0 && masters.config().has_mtp()),
             "the MTP module is trained in pre-training, with a weight, where the model has one");
    R1_CHECK(c.temperature > 0, fmt::format("temperature={}", c.temperature));
    R1_CHECK(c.loss_mean != LossMean::constant || c.longest_completion >= 1, "a constant mean needs the longest completion");
    R1_CHECK(c.ratio == Ratio::token || (c.clip == Clip::ppo && c.loss_mean == LossMean::sequence),
             "a ratio per sequence goes with the clipped form and the mean per sequence");
    refresh_weights();
    device.finish();
  }

  const WeightSet& weights() const { return working ? *working : masters; }

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

  void refresh_weights() {
    if (handed_out && working) working = buffers.take();
    handed_out = nullptr;
    if (!working) return;
    Context ctx(device);
    copy_weights(ctx, masters, *working);
  }

  void check(const TrainBatch& batch) const {
    R1_CHECK(config.objective != Objective::reward_model || batch.sequences.size() % 2 == 0, "a preference batch holds pairs");
    for (const Sequence& s : batch.sequences) {
      const size_t n = s.tokens.size();
      R1_CHECK(static_cast<int64_t>(n) <= model.config().max_positions,
               fmt::format("{} tokens, {} positions", n, model.config().max_positions));
      R1_CHECK(s.trainable.empty() || s.trainable.size() == n, "one trainable flag per token");
      if (config.objective == Objective::reward_model) R1_CHECK(n > 0, "an empty answer has no score");
      if (config.objective != Objective::grpo || n == 0) continue;
      R1_CHECK(s.behaviour_logp.size() == n,
               fmt::format("{} behaviour log-probabilities for {} tokens", s.behaviour_logp.size(), n));
      R1_CHECK(s.reference_logp.empty() ? config.kl == 0 : s.reference_logp.size() == n,
               "a KL term needs reference log-probabilities");
      R1_CHECK(s.reference_logp.empty() == batch.sequences[0].reference_logp.empty(),
               "all sequences have a reference or none has");
    }
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

  // Forward (and backward) of all micro-batches of one step.
  LossTotals run_step(const LossPlan& plan, bool learn) {
    const std::vector<MicroBatch> packs = pack(plan.sequences, pack_rules(config, lanes.size()));
    std::vector<LossTotals> totals(packs.size());
    lanes.for_each(static_cast<int64_t>(packs.size()), [&](Lane& lane, int64_t i) {
      run_loss(lane, model, weights(), packs[static_cast<size_t>(i)], plan, learn, totals[static_cast<size_t>(i)]);
    });
    LossTotals sum;
    for (const LossTotals& t : totals) sum.add(t);
    return sum;
  }

  // Log-probabilities of all trainable tokens under the weights at the start of the batch (decoupled form), compared for P2.
  std::vector<std::vector<float>> proximal_logprobs(const std::vector<Sequence>& sequences, LossTotals& totals) {
    std::vector<std::vector<float>> out(sequences.size());
    for (size_t i = 0; i < sequences.size(); ++i) out[i].resize(sequences[i].tokens.size(), 0);
    const std::vector<MicroBatch> packs = pack(sequences, pack_rules(config, lanes.size()));
    lanes.for_each(static_cast<int64_t>(packs.size()), [&](Lane& lane, int64_t i) {
      const MicroBatch& m = packs[static_cast<size_t>(i)];
      const std::vector<float> logp = forward_logprobs(lane, model, weights(), m, config.temperature);
      for (size_t n = 0; n < logp.size(); ++n)
        out[static_cast<size_t>(m.row_sequence[n])][static_cast<size_t>(m.row_token[n])] = logp[n];
    });
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

  // One optimizer step on `sequences`. Returns its gradient norm, or nothing when no token counts.
  void optimizer_step(const LossPlan& plan, LossTotals& totals, ExpertLoad& load, TrainStats& stats) {
    const LossTotals now = run_step(plan, true);
    Gradients* grads = lanes.sum_gradients();
    totals.add(now);
    if (!grads) return;
    const double norm = optimizer.norm(*grads);
    if (!std::isfinite(norm))
      throw failure(
          fmt::format("the gradient's norm is {} at optimizer step {} (loss {})", norm, optimizer.steps() + 1, now.loss), {},
          "a smaller learning rate or clip_norm may help");
    const double scale = config.clip_norm > 0 && norm > config.clip_norm ? config.clip_norm / norm : 1;
    const double factor = schedule_factor(config, optimizer.steps());
    optimizer.step(masters, *grads, next_weights(), factor, scale);
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

TrainerEngine::TrainerEngine(Device& device, const TrainerConfig& config, const WeightSet& start, int64_t first_version)
    : impl_(std::make_unique<Impl>(device, config, start, first_version)) {}
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
  load.finish(e.masters, stats);
  e.device.finish();
  return stats;
}

TrainStats TrainerEngine::evaluate(const TrainBatch& batch) {
  Impl& e = *impl_;
  e.check(batch);
  TrainStats stats;
  if (!batch.sequences.empty()) e.finish(batch, e.run_step(e.make_plan(batch.sequences), false), 1, stats);
  return stats;
}

std::shared_ptr<const WeightSet> TrainerEngine::weights() const {
  Impl& e = *impl_;
  if (e.handed_out) return e.handed_out;
  if (e.working) return e.handed_out = e.working;
  const auto copy = e.buffers.take();
  Context ctx(e.device);
  copy_weights(ctx, e.masters, *copy);
  e.device.finish();
  return e.handed_out = copy;
}

const WeightSet& TrainerEngine::masters() const { return impl_->masters; }
Hash128 TrainerEngine::masters_hash() const { return impl_->masters.hash(); }

void TrainerEngine::change(const TrainerConfig& config) {
  const TrainerConfig& now = impl_->config;
  R1_CHECK(config.objective == now.objective && config.optimizer == now.optimizer && config.precision == now.precision &&
               config.mtp == now.mtp && config.mini_batches == now.mini_batches && config.inner_epochs == now.inner_epochs,
           "another kind of training");
  impl_->config = config;
  impl_->optimizer.change(config);
}

std::function<void()> TrainerEngine::begin_save(const std::filesystem::path& file) const {
  return write_trainer_state(file, impl_->masters, impl_->optimizer, impl_->config.optimizer, impl_->version);
}

void TrainerEngine::load(const std::filesystem::path& file) {
  impl_->version = load_trainer_state(file, impl_->masters, impl_->optimizer, impl_->config.optimizer);
  impl_->refresh_weights();
  impl_->device.finish();
}

}  // namespace r1
