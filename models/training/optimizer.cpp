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

namespace {

bool by_muon(const ParamSpec& s, const TrainerConfig& c) {
  return s.role == ParamRole::matrix && c.optimizer == "muon" && !(s.mtp && !c.mtp);
}

// [0, n) of what is trained, the first segment.
ElementRange all_of(const WeightSet& like) { return {0, like.segments()[0].values.size()}; }

Tensor zeros(Context& ctx, int64_t n) {
  Tensor t(*ctx.device, DType::f32, {n});
  if (n > 0) run(ctx, Fill{t, 0});
  return t;
}

// Where x [rows, cols] is after five Newton-Schulz steps, all in f32. x is overwritten.
View orthogonalised(Context& ctx, const View& x) {
  const bool wide = x.shape[0] <= x.shape[1];
  const int64_t k = std::min(x.shape[0], x.shape[1]);
  const View a = ctx.arena.alloc(DType::f32, {k, k}), b = ctx.arena.alloc(DType::f32, {k, k});
  const View other = ctx.arena.alloc(DType::f32, {x.shape[0], x.shape[1]});
  View from = x, to = other;
  for (int i = 0; i < kNewtonSchulzSteps; ++i) {
    run(ctx, Gemm{from, from, a, !wide, wide});
    run(ctx, Copy{a, b});
    run(ctx, Gemm{a, a, b, false, false, kC, kB});
    run(ctx, Copy{from, to});
    if (wide)
      run(ctx, Gemm{b, from, to, false, false, 1, kA});
    else
      run(ctx, Gemm{from, b, to, false, false, 1, kA});
    std::swap(from, to);
  }
  return from;
}

// The same by the products of layers, whose operands are bf16 and whose sums are f32; A and b A + c A A are symmetric.
View orthogonalised_by_bf16(Context& ctx, const View& x) {
  const int64_t rows = x.shape[0], cols = x.shape[1], k = std::min(rows, cols);
  const bool wide = rows <= cols;
  const View a = ctx.arena.alloc(DType::f32, {k, k}), b = ctx.arena.alloc(DType::f32, {k, k});
  const View product = ctx.arena.alloc(DType::f32, {rows, cols});
  const View x16 = ctx.arena.alloc(DType::bf16, {rows, cols}), square16 = ctx.arena.alloc(DType::bf16, {k, k});
  const View product16 = wide ? ctx.arena.alloc(DType::bf16, {rows, cols}) : View{};
  for (int i = 0; i < kNewtonSchulzSteps; ++i) {
    run(ctx, Copy{x, x16});
    if (wide) {
      run(ctx, Linear{x16, x16, {}, a});
    } else {
      run(ctx, Fill{a, 0});
      run(ctx, LinearBackwardWeight{x16, x16, a, {}});
    }
    run(ctx, Copy{a, square16});
    run(ctx, Linear{square16, square16, {}, b});
    run(ctx, Axpby{a, b, kB, kC});
    run(ctx, Copy{b, square16});
    if (wide) {
      run(ctx, LinearBackwardInput{square16, x16, product16});
      run(ctx, Copy{product16, product});
    } else {
      run(ctx, Linear{x16, square16, {}, product});
    }
    run(ctx, Axpby{product, x, 1, kA});
  }
  return x;
}

}  // namespace

Masters masters_in(const WeightSet& whole, const ElementRange& shard) {
  const auto& segments = whole.segments();
  R1_CHECK(segments.size() <= 2 && segments[0].trainable, "what is trained is one segment");
  return {segments[0].values.slice(shard.begin, shard.end), segments.size() > 1 ? segments[1].values : View{}};
}

std::vector<ElementRange> optimizer_shards(const WeightSet& like, const TrainerConfig& config, int64_t ranks) {
  std::vector<ElementRange> shards = equal_ranges(all_of(like).end, ranks, 64 / static_cast<int64_t>(sizeof(float)));
  for (size_t i = 0; i < like.specs().size(); ++i) {
    const ParamSpec& s = like.specs()[i];
    if (!by_muon(s, config)) continue;
    for (const ParamPart& p : s.parts) {
      const int64_t begin = like.place(i).begin + p.row_begin * s.shape[1], end = begin + p.rows * s.shape[1];
      for (size_t r = 1; r < shards.size(); ++r)
        if (begin < shards[r].begin && shards[r].begin < end) shards[r - 1].end = shards[r].begin = begin;
    }
  }
  return shards;
}

Optimizer::Optimizer(const WeightSet& like, const TrainerConfig& config, bool side_by_side)
    : Optimizer(like, config, side_by_side, all_of(like)) {}

Optimizer::Optimizer(const WeightSet& like, const TrainerConfig& config, bool side_by_side, const ElementRange& shard)
    : config_(config), shard_(shard), ctx_(like.device()), side_by_side_(side_by_side) {
  R1_CHECK(config.optimizer == "adamw" || config.optimizer == "muon", config.optimizer);
  first_ = zeros(ctx_, shard.end - shard.begin);
  second_ = zeros(ctx_, shard.end - shard.begin);

  const auto& specs = like.specs();
  std::vector<int64_t> ranges;
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
    const WeightSet::Place at = like.place(i);
    R1_CHECK(at.segment == 0 && like.segments()[0].trainable, s.name);
    if (by_muon(s, config)) {
      for (const ParamPart& p : s.parts)
        if (const int64_t begin = at.begin + p.row_begin * s.shape[1]; shard.begin <= begin && begin < shard.end)
          matrices_.push_back({begin, p.rows, s.shape[1]});
      continue;
    }
    const bool decay = s.role != ParamRole::norm && s.role != ParamRole::bias;
    // Gaps between parameters hold zeros and stay zero under AdamW.
    const bool last_there = i + 1 == specs.size() || like.place(i + 1).segment != at.segment;
    const int64_t begin = std::max(at.begin, shard.begin) - shard.begin,
                  end = std::min(last_there ? all_of(like).end : like.place(i + 1).begin, shard.end) - shard.begin;
    if (begin >= end) continue;
    const size_t n = ranges.size();
    if (n > 0 && ranges[n - 2] == begin && (ranges[n - 1] != 0) == decay)
      ranges[n - 2] = end;
    else
      ranges.insert(ranges.end(), {begin, end, decay ? 1 : 0});
  }
  if (const auto n = static_cast<int64_t>(ranges.size()) / 3; n > 0)
    ranges_ = tensor_from(like.device(), DType::i64, {n, 3}, ranges.data());
  const size_t contexts = matrices_.empty() ? 0 : side_by_side ? matrices_.size() : 1;
  for (size_t i = 0; i < contexts; ++i) {
    contexts_.push_back(std::make_unique<Context>(like.device()));
    contexts_.back()->parallel = !side_by_side;
  }
}

std::vector<size_t> Optimizer::untouched() const {
  std::vector<size_t> out = frozen_;
  if (config_.bias_update_rate == 0) out.insert(out.end(), biases_.begin(), biases_.end());
  return out;
}

double Optimizer::squares(const Gradients& grads) {
  if (shard_.begin == shard_.end) return 0;
  ctx_.arena.reset();
  const View out = ctx_.arena.alloc(DType::f32, {1});
  run(ctx_, SumSquares{grads.segments()[0].values.slice(shard_.begin, shard_.end), out, false});
  return static_cast<double>(download_as<float>(out)[0]);
}

void Optimizer::step(const Masters& masters, const Gradients& grads, const WeightSet& weights, double factor,
                     double grad_scale) {
  ++steps_;
  if (ranges_) {
    const auto part = [this](const auto& set) { return set.segments()[0].values.slice(shard_.begin, shard_.end); };
    const View written = part(weights);
    run(ctx_, AdamW{masters.shard, part(grads), first_, second_, written.data != masters.shard.data ? written : View{}, ranges_,
                    static_cast<float>(config_.lr * factor), static_cast<float>(config_.beta1),
                    static_cast<float>(config_.beta2), static_cast<float>(config_.eps),
                    static_cast<float>(config_.weight_decay), static_cast<float>(grad_scale), steps_});
  }
  const auto one = [&](int64_t i) {
    muon(*contexts_[side_by_side_ ? static_cast<size_t>(i) : 0], masters, grads, weights, matrices_[static_cast<size_t>(i)],
         factor, grad_scale);
  };
  const auto n = static_cast<int64_t>(matrices_.size());
  if (side_by_side_)
    device_tasks(weights.device(), n, one);
  else
    for (int64_t i = 0; i < n; ++i) one(i);
  update_biases(masters, grads, weights);
}

void Optimizer::update_biases(const Masters& masters, const Gradients& grads, const WeightSet& weights) {
  if (biases_.empty() || config_.bias_update_rate == 0) return;
  for (int b : biases_) {
    const View& weight = weights.param(static_cast<size_t>(b));
    const int64_t begin = weights.place(static_cast<size_t>(b)).begin;
    const View bias = masters.biases.slice(begin, begin + weight.size());
    run(ctx_, MoeBiasUpdate{bias, grads.param(b), static_cast<float>(config_.bias_update_rate)});
    if (weight.data != bias.data) run(ctx_, Copy{bias, weight});
  }
}

void Optimizer::muon(Context& ctx, const Masters& masters, const Gradients& grads, const WeightSet& weights, const Matrix& m,
                     double factor, double grad_scale) {
  ctx.arena.reset();
  const auto part = [&](const View& v, int64_t begin) {
    return v.slice(begin, begin + m.rows * m.cols).reshape({m.rows, m.cols});
  };
  const int64_t own = m.begin - shard_.begin;
  const View master = part(masters.shard, own), buffer = part(first_, own);
  const View g = part(grads.segments()[0].values, m.begin);
  const auto momentum = static_cast<float>(config_.muon_momentum), scale = static_cast<float>(grad_scale);

  const View x = ctx.arena.alloc(DType::f32, {m.rows, m.cols});
  run(ctx, Axpby{g, buffer, scale, momentum});
  run(ctx, Copy{g, x});
  run(ctx, Axpby{buffer, x, momentum, scale});
  const View square = ctx.arena.alloc(DType::f32, {1});
  run(ctx, SumSquares{x, square});
  run(ctx, ScaleByNorm{x, square, kNormFloor});

  const View weight = part(weights.segments()[0].values, m.begin);
  const View update = weight.dtype == DType::bf16 ? orthogonalised_by_bf16(ctx, x) : orthogonalised(ctx, x);
  const double lr = config_.muon_lr * factor;
  const double shape = std::sqrt(std::max(1.0, static_cast<double>(m.rows) / static_cast<double>(m.cols)));
  run(ctx, Axpby{update, master, static_cast<float>(-lr * shape), static_cast<float>(1 - lr * config_.muon_weight_decay)});
  if (weight.data != master.data) run(ctx, Copy{master, weight});
}

}  // namespace r1
