#include "models/training/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "base/error.h"
#include "kernels/ops.h"

namespace r1 {
namespace {

constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;
constexpr int kNewtonSchulzSteps = 5;
constexpr float kNormFloor = 1e-7f;

}  // namespace

double schedule_factor(const TrainerConfig& c, int64_t step) {
  if (step < c.warmup_steps) return static_cast<double>(step + 1) / static_cast<double>(c.warmup_steps);
  if (c.schedule == Schedule::constant || c.total_steps <= c.warmup_steps) return 1;
  const double t =
      std::min(1.0, static_cast<double>(step - c.warmup_steps) / static_cast<double>(c.total_steps - c.warmup_steps));
  const double left = c.schedule == Schedule::cosine ? 0.5 * (1 + std::cos(std::numbers::pi * t)) : 1 - t;
  return c.lr_end + (1 - c.lr_end) * left;
}

Optimizer::Optimizer(const WeightSet& masters, const TrainerConfig& config, bool side_by_side)
    : config_(config),
      first_(masters.device(), masters.config(), DType::f32),
      second_(masters.device(), masters.config(), DType::f32),
      ctx_(masters.device()),
      side_by_side_(side_by_side) {
  R1_CHECK(config.optimizer == "adamw" || config.optimizer == "muon", config.optimizer);
  run(ctx_, Fill{first_.flat(), 0});
  run(ctx_, Fill{second_.flat(), 0});

  const auto& specs = masters.specs();
  std::vector<std::vector<int64_t>> ranges(masters.segments().size());
  for (size_t i = 0; i < specs.size(); ++i) {
    const ParamSpec& s = specs[i];
    if (s.mtp && !config.mtp) {
      frozen_.push_back(i);
      continue;
    }
    if (s.role == ParamRole::selection_bias) {
      biases_.push_back(static_cast<int>(i));
      continue;
    }
    if (s.role == ParamRole::matrix && config.optimizer == "muon") {
      for (const ParamPart& p : s.parts) matrices_.push_back({static_cast<int>(i), p.row_begin, p.rows, s.shape[1]});
      continue;
    }
    const bool decay = s.role != ParamRole::norm && s.role != ParamRole::bias;
    const WeightSet::Place at = masters.place(i);
    R1_CHECK(masters.segments()[at.segment].trainable, s.name);
    // Gaps between parameters hold zeros and stay zero under AdamW.
    const bool last_there = i + 1 == specs.size() || masters.place(i + 1).segment != at.segment;
    const int64_t end = last_there ? masters.segments()[at.segment].values.size() : masters.place(i + 1).begin;
    std::vector<int64_t>& all = ranges[at.segment];
    const size_t n = all.size();
    if (n > 0 && all[n - 2] == at.begin && (all[n - 1] != 0) == decay)
      all[n - 2] = end;
    else
      all.insert(all.end(), {at.begin, end, decay ? 1 : 0});
  }
  for (size_t s = 0; s < ranges.size(); ++s)
    if (const auto n = static_cast<int64_t>(ranges[s].size()) / 3; n > 0)
      ranges_.push_back({s, tensor_from(masters.device(), DType::i64, {n, 3}, ranges[s].data())});
  const size_t contexts = matrices_.empty() ? 0 : side_by_side ? matrices_.size() : 1;
  for (size_t i = 0; i < contexts; ++i) {
    contexts_.push_back(std::make_unique<Context>(masters.device()));
    contexts_.back()->parallel = !side_by_side;
  }
}

std::vector<size_t> Optimizer::untouched() const {
  std::vector<size_t> out = frozen_;
  if (config_.bias_update_rate == 0) out.insert(out.end(), biases_.begin(), biases_.end());
  return out;
}

double Optimizer::norm(const Gradients& grads) {
  ctx_.arena.reset();
  const View out = ctx_.arena.alloc(DType::f32, {1});
  bool accumulate = false;
  for (const WeightSegment& s : grads.segments())
    if (s.trainable) run(ctx_, SumSquares{s.values, out, std::exchange(accumulate, true)});
  return std::sqrt(static_cast<double>(download_as<float>(out)[0]));
}

void Optimizer::step(const WeightSet& masters, const Gradients& grads, const WeightSet& weights, double factor,
                     double grad_scale) {
  ++steps_;
  const bool separate = weights.flat().data != masters.flat().data;
  for (const auto& [segment, ranges] : ranges_) {
    const auto values = [s = segment](const auto& set) { return set.segments()[s].values; };
    run(ctx_, AdamW{values(masters), values(grads), values(first_), values(second_), separate ? values(weights) : View{},
                    ranges, static_cast<float>(config_.lr * factor), static_cast<float>(config_.beta1),
                    static_cast<float>(config_.beta2), static_cast<float>(config_.eps),
                    static_cast<float>(config_.weight_decay), static_cast<float>(grad_scale), steps_});
  }
  const auto one = [&](int64_t i) {
    muon(*contexts_[side_by_side_ ? static_cast<size_t>(i) : 0], masters, grads, weights, matrices_[static_cast<size_t>(i)],
         factor, grad_scale);
  };
  const auto n = static_cast<int64_t>(matrices_.size());
  if (side_by_side_)
    device_tasks(masters.device(), n, one);
  else
    for (int64_t i = 0; i < n; ++i) one(i);
  update_biases(masters, grads, weights);
}

void Optimizer::update_biases(const WeightSet& masters, const Gradients& grads, const WeightSet& weights) {
  if (biases_.empty() || config_.bias_update_rate == 0) return;
  for (int b : biases_) {
    const View& bias = masters.param(static_cast<size_t>(b));
    run(ctx_, MoeBiasUpdate{bias, grads.param(b), static_cast<float>(config_.bias_update_rate)});
    const View& weight = weights.param(static_cast<size_t>(b));
    if (weight.data != bias.data) run(ctx_, Copy{bias, weight});
  }
}

void Optimizer::muon(Context& ctx, const WeightSet& masters, const Gradients& grads, const WeightSet& weights, const Matrix& m,
                     double factor, double grad_scale) {
  ctx.arena.reset();
  const auto param = static_cast<size_t>(m.param);
  const auto part = [&](const View& v) { return v.slice(m.row_begin, m.row_begin + m.rows); };
  const View master = part(masters.param(param)), buffer = part(first_.param(param));
  const View g = part(grads.param(m.param));
  const auto momentum = static_cast<float>(config_.muon_momentum), scale = static_cast<float>(grad_scale);

  View x = ctx.arena.alloc(DType::f32, {m.rows, m.cols}), next = ctx.arena.alloc(DType::f32, {m.rows, m.cols});
  run(ctx, Axpby{g, buffer, scale, momentum});
  run(ctx, Copy{g, x});
  run(ctx, Axpby{buffer, x, momentum, scale});
  const View square = ctx.arena.alloc(DType::f32, {1});
  run(ctx, SumSquares{x, square});
  run(ctx, ScaleByNorm{x, square, kNormFloor});

  const bool wide = m.rows <= m.cols;
  const int64_t k = std::min(m.rows, m.cols);
  const View a = ctx.arena.alloc(DType::f32, {k, k}), b = ctx.arena.alloc(DType::f32, {k, k});
  for (int i = 0; i < kNewtonSchulzSteps; ++i) {
    run(ctx, Gemm{x, x, a, !wide, wide});
    run(ctx, Copy{a, b});
    run(ctx, Gemm{a, a, b, false, false, kC, kB});
    run(ctx, Copy{x, next});
    if (wide)
      run(ctx, Gemm{b, x, next, false, false, 1, kA});
    else
      run(ctx, Gemm{x, b, next, false, false, 1, kA});
    std::swap(x, next);
  }
  const double lr = config_.muon_lr * factor;
  const double shape = std::sqrt(std::max(1.0, static_cast<double>(m.rows) / static_cast<double>(m.cols)));
  run(ctx, Axpby{x, master, static_cast<float>(-lr * shape), static_cast<float>(1 - lr * config_.muon_weight_decay)});
  const View weight = part(weights.param(param));
  if (weight.data != master.data) run(ctx, Copy{master, weight});
}

}  // namespace r1
