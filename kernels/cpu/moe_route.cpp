// The gate of a mixture of experts: scores, selection, weights, and their gradients. Rows are independent.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/moe_route.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <algorithm>
#include <limits>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/threads.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

constexpr float kNone = -std::numeric_limits<float>::infinity();

// The scores of one row: of sigmoid, or of softmax.
HWY_INLINE void score_row(const float* x, float* y, int64_t n, bool softmax) {
  if (!softmax) {
    for (int64_t i = 0; i < n; i += 16) store16(y + i, sigmoid16(load16(x + i, n - i)), n - i);
    return;
  }
  F16 max = set16(kNone);
  for (int64_t i = 0; i < n; i += 16) max = max16(max, select16(first16(n - i), load16(x + i, n - i), max));
  const F16 shift = set16(max_lane16(max));
  F16 sum = zero16();
  for (int64_t i = 0; i < n; i += 16) {
    const F16 e = select16(first16(n - i), exp16(load16(x + i, n - i) - shift), zero16());
    sum = sum + e;
    store16(y + i, e, n - i);
  }
  const F16 whole = set16(sum16(sum));
  for (int64_t i = 0; i < n; i += 16) store16(y + i, load16(y + i, n - i) / whole, n - i);
}

// What experts are chosen from: a value each, in sixteens filled up with -inf, and the largest of each sixteen.
class Candidates {
 public:
  // Memory of the calling thread until the next `scratch` of slot a.
  explicit Candidates(int64_t experts) : experts_(experts), blocks_((experts + 15) / 16) {
    z_ = scratch<float>(ScratchSlot::a, blocks_ * 17);
    best_ = z_ + blocks_ * 16;
  }

  // scores + bias (may be null). NaN counts as the smallest: whatever a row holds, what is chosen are experts.
  HWY_INLINE void set(const float* scores, const float* bias) {
    for (int64_t i = 0; i < experts_; i += 16) {
      const int64_t left = experts_ - i;
      F16 z = load16(scores + i, left);
      if (bias) z = z + load16(bias + i, left);
      z = select16(first16(left), not_nan(z), set16(kNone));
      store16(z_ + i, z);
      best_[i / 16] = max_lane16(z);
    }
  }

  // The first index of the largest value, which is then no candidate any more.
  HWY_INLINE int64_t take() {
    int64_t b = 0, i = 0;
    for (int64_t j = 1; j < blocks_; ++j)
      if (best_[j] > best_[b]) b = j;
    float* const z = z_ + b * 16;
    while (z[i] != best_[b]) ++i;
    z[i] = kNone;
    best_[b] = max_lane16(load16(z));
    return b * 16 + i;
  }

  // Leaves only the experts of the `top` best of `groups` groups; a group's score is the sum of its `summed` (1 or 2) largest.
  HWY_INLINE void limit(int64_t groups, int64_t top, int summed) {
    const int64_t size = experts_ / groups;
    float* const score = scratch<float>(ScratchSlot::b, groups);
    for (int64_t g = 0; g < groups; ++g) {
      float first = kNone, second = kNone;
      for (int64_t i = g * size; i < (g + 1) * size; ++i) {
        second = std::max(second, std::min(first, z_[i]));
        first = std::max(first, z_[i]);
      }
      score[g] = summed == 1 || size == 1 ? first : first + second;
    }
    for (int64_t dropped = 0; dropped < groups - top; ++dropped) {
      // Of equally bad groups the last one goes. A dropped group's score is +inf.
      int64_t worst = 0;
      for (int64_t g = 1; g < groups; ++g)
        if (score[g] <= score[worst]) worst = g;
      score[worst] = -kNone;
      std::fill_n(z_ + worst * size, size, kNone);
    }
    for (int64_t j = 0; j < blocks_; ++j) best_[j] = max_lane16(load16(z_ + j * 16));
  }

 private:
  HWY_INLINE static F16 not_nan(F16 x) {
    R1_PARTS x.v[i] = hn::IfThenElse(hn::IsNaN(x.v[i]), hn::Set(DF(), kNone), x.v[i]);
    return x;
  }

  int64_t experts_, blocks_;
  float *z_, *best_;
};

void moe_route(Context& context, const MoeRoute& op) {
  const int64_t experts = op.logits.shape[1], k = op.experts.shape[1];
  const float* const bias = op.bias ? data_as<const float>(op.bias) : nullptr;
  for_rows(context, op.logits.shape[0], 64, static_cast<double>(2 * experts + 15 * k),
           [&](int64_t begin, int64_t end) HWY_ATTR {
             Candidates candidates(experts);
             for (int64_t t = begin; t < end; ++t) {
               float* const scores = data_as<float>(op.scores) + t * experts;
               score_row(data_as<const float>(op.logits) + t * experts, scores, experts, op.softmax);
               candidates.set(scores, bias);
               if (op.top_groups < op.groups) candidates.limit(op.groups, op.top_groups, op.softmax && !op.bias ? 1 : 2);
               int32_t* const chosen = data_as<int32_t>(op.experts) + t * k;
               float* const weights = data_as<float>(op.weights) + t * k;
               float sum = 0;
               for (int64_t j = 0; j < k; ++j) {
                 chosen[j] = static_cast<int32_t>(candidates.take());
                 weights[j] = scores[chosen[j]];
                 sum += weights[j];
               }
               const float factor = op.normalize ? op.scale / (sum + 1e-20f) : op.scale;
               for (int64_t j = 0; j < k; ++j) weights[j] *= factor;
             }
           });
}

// With u_j = s_j / S, S = sum s + 1e-20:  ds_j = scale (dw_j - sum_i dw_i u_i) / S.  sigmoid: dx = ds s (1 - s);
// softmax: dx = s (ds - sum ds s).
void moe_route_backward(Context& context, const MoeRouteBackward& op) {
  const int64_t n = op.scores.shape[1], k = op.experts.shape[1];
  for_rows(context, op.scores.shape[0], 64, static_cast<double>(n + 4 * k), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const float* const s = data_as<const float>(op.scores) + t * n;
      const int32_t* const chosen = data_as<const int32_t>(op.experts) + t * k;
      const float* const dw = data_as<const float>(op.dweights) + t * k;
      float* const d = data_as<float>(op.dlogits) + t * n;
      if (op.dscores)
        std::copy_n(data_as<const float>(op.dscores) + t * n, n, d);
      else
        std::fill_n(d, n, 0.0f);
      float sum = 1e-20f, mixed = 0;
      for (int64_t j = 0; j < k; ++j) sum += s[chosen[j]];
      for (int64_t j = 0; j < k; ++j) mixed += dw[j] * (s[chosen[j]] / sum);
      for (int64_t j = 0; j < k; ++j) d[chosen[j]] += op.scale * (op.normalize ? (dw[j] - mixed) / sum : dw[j]);
      F16 inner = zero16();
      if (op.softmax)
        for (int64_t i = 0; i < n; i += 16) inner = fma16(load16(d + i, n - i), load16(s + i, n - i), inner);
      const F16 shift = set16(sum16(inner)), one = set16(1.0f);
      for (int64_t i = 0; i < n; i += 16) {
        const F16 si = load16(s + i, n - i), di = load16(d + i, n - i);
        store16(d + i, op.softmax ? si * (di - shift) : di * si * (one - si), n - i);
      }
    }
  });
}

// One sequence. f: [E] scratch. Returns sum_i f_i P_i.
HWY_INLINE float balance_sequence(const MoeBalanceLoss& op, int64_t begin, int64_t end, Candidates& candidates, float* f) {
  const int64_t n = op.scores.shape[1];
  const float* const scores = data_as<const float>(op.scores);
  std::fill_n(f, n, 0.0f);
  for (int64_t t = begin; t < end; ++t) {
    candidates.set(scores + t * n, nullptr);
    for (int j = 0; j < op.k; ++j) f[candidates.take()] += 1;
  }
  const float rows = static_cast<float>(end - begin);
  for (int64_t e = 0; e < n; ++e) f[e] *= static_cast<float>(n) / (static_cast<float>(op.k) * rows);
  float total = 0;
  for (int64_t t = begin; t < end; ++t) {
    const float* const s = scores + t * n;
    float* const d = data_as<float>(op.dscores) + t * n;
    F16 sums = zero16(), products = zero16();
    for (int64_t i = 0; i < n; i += 16) {
      const F16 si = load16(s + i, n - i);
      sums = sums + si;
      products = fma16(load16(f + i, n - i), si, products);
    }
    const float sum = sum16(sums), mixed = sum16(products) / sum;
    total += mixed;
    const F16 factor = set16(op.weight / (rows * sum)), shift = set16(mixed);
    for (int64_t i = 0; i < n; i += 16) store16(d + i, factor * (load16(f + i, n - i) - shift), n - i);
  }
  return total / rows;
}

void moe_balance_loss(Context& context, const MoeBalanceLoss& op) {
  const int64_t sequences = op.offsets.shape[0] - 1, experts = op.scores.shape[1];
  if (sequences == 0) return;
  const int32_t* const offsets = data_as<const int32_t>(op.offsets);
  const auto mark = context.arena.mark();
  float* const losses = data_as<float>(context.arena.alloc(DType::f32, {sequences}));
  const double ns = static_cast<double>(op.scores.shape[0] / sequences) * static_cast<double>(experts + 15 * op.k);
  for_rows(context, sequences, 1, ns, [&](int64_t begin, int64_t end) HWY_ATTR {
    Candidates candidates(experts);
    float* const f = scratch<float>(ScratchSlot::b, experts);
    for (int64_t s = begin; s < end; ++s)
      losses[s] = offsets[s] < offsets[s + 1] ? balance_sequence(op, offsets[s], offsets[s + 1], candidates, f) : 0.0f;
  });
  float sum = 0;
  for (int64_t s = 0; s < sequences; ++s) sum += losses[s];
  *data_as<float>(op.loss) += op.weight * sum;
  context.arena.release(mark);
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(moe_route);
HWY_EXPORT(moe_route_backward);
HWY_EXPORT(moe_balance_loss);
void moe_route(Context& context, const MoeRoute& op) { HWY_DYNAMIC_DISPATCH(moe_route)(context, op); }
void moe_route_backward(Context& context, const MoeRouteBackward& op) { HWY_DYNAMIC_DISPATCH(moe_route_backward)(context, op); }
void moe_balance_loss(Context& context, const MoeBalanceLoss& op) { HWY_DYNAMIC_DISPATCH(moe_balance_loss)(context, op); }
}  // namespace r1::cpu
#endif
