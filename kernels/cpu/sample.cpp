#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/sample.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <algorithm>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/vocabulary-inl.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

template <class E>
int32_t argmax(const E* x, int64_t V) {
  const float max = row_max(x, V);
  for (int64_t v = 0; v < V; ++v)
    if (widen1(x[v]) == max) return static_cast<int32_t>(v);
  return 0;
}

// The first v with sum_{w<=v} exp(z[w] - max) > u * total. Whole blocks, then whole sixteens, are skipped by their sums. A
// margin covers the rounding of a sum and of the walk inside it, which differ.
template <class E>
int32_t pick_any(const E* x, int64_t V, float inverse, float max, const float* block_sums, float u) {
  constexpr double kMargin = 1 + 1e-5;
  double total = 0;
  for (int64_t b = 0; b * kVocabularyBlock < V; ++b) total += static_cast<double>(block_sums[b]);
  const double wanted = static_cast<double>(u) * total;
  const F16 scale = set16(inverse), shift = set16(max);
  double before = 0;  // the sum of all blocks passed
  for (int64_t v0 = 0; v0 < V; v0 += kVocabularyBlock) {
    const double block = static_cast<double>(block_sums[v0 / kVocabularyBlock]);
    const int64_t end = std::min(v0 + kVocabularyBlock, V);
    double sum = before;
    before += block;
    if (end < V && sum + block * kMargin <= wanted) continue;
    for (int64_t v = v0; v < end; v += 16) {
      const int64_t n = std::min<int64_t>(end - v, 16);
      const F16 e16 = select16(first16(n), exp16(load16(x + v, n) * scale - shift), zero16());
      const double sixteen = static_cast<double>(sum16(e16));
      if (sum + sixteen * kMargin <= wanted) {
        sum += sixteen;
        continue;
      }
      float e[16];
      store16(e, e16);
      double walked = sum;
      for (int64_t i = 0; i < n; ++i) {
        walked += static_cast<double>(e[i]);
        if (walked > wanted) return static_cast<int32_t>(v + i);
      }
      sum += sixteen;
    }
  }
  for (int64_t v = V - 1; v > 0; --v)
    if (exp1(widen1(x[v]) * inverse - max) > 0) return static_cast<int32_t>(v);
  return 0;
}

// The same over the support left by top_k and top_p (kernels/ops.h, Sample).
template <class E>
int32_t pick_truncated(const E* x, int64_t V, float inverse, float max, int top_k, float top_p, float u) {
  std::vector<int32_t> order(static_cast<size_t>(V));
  std::iota(order.begin(), order.end(), 0);
  const auto before = [x](int32_t a, int32_t b) {
    const float xa = widen1(x[a]), xb = widen1(x[b]);
    return xa > xb || (xa == xb && a < b);
  };
  if (top_k > 0 && top_k < V) {
    std::nth_element(order.begin(), order.begin() + top_k, order.end(), before);
    order.resize(static_cast<size_t>(top_k));
  }
  std::sort(order.begin(), order.end(), before);
  const auto mass = [&](int32_t v) HWY_ATTR { return static_cast<double>(exp1(widen1(x[v]) * inverse - max)); };
  double total = 0;
  for (int32_t v : order) total += mass(v);
  if (top_p < 1) {
    size_t kept = 0;
    double sum = 0;
    while (kept < order.size() && sum < static_cast<double>(top_p) * total) sum += mass(order[kept++]);
    order.resize(std::max<size_t>(kept, 1));
    total = 0;
    for (int32_t v : order) total += mass(v);
  }
  std::sort(order.begin(), order.end());
  double sum = 0;
  int32_t last = order[0];
  for (int32_t v : order) {
    const double m = mass(v);
    sum += m;
    if (m > 0) last = v;
    if (sum > static_cast<double>(u) * total) return v;
  }
  return last;
}

template <class E>
void sample_rows(Context& context, const Sample& op) {
  const Rows<const E> logits(op.logits);
  const int64_t V = op.logits.shape[1];
  const int64_t* const keys = data_as<const int64_t>(op.keys);
  const int32_t* const positions = data_as<const int32_t>(op.positions);
  const float* const temperature = data_as<const float>(op.temperature);
  for_rows(context, logits.count, 4, 100 + 1.0 * static_cast<double>(V), [&](int64_t begin, int64_t end) HWY_ATTR {
    float* const block_sums = scratch<float>(ScratchSlot::a, (V + kVocabularyBlock - 1) / kVocabularyBlock);
    for (int64_t r = begin; r < end; ++r) {
      const E* const x = logits(r);
      const bool greedy = temperature[r] == 0;
      const float inverse = greedy ? 1.0f : 1.0f / temperature[r];
      const RowStats stats = row_stats(x, V, inverse, block_sums);
      int32_t token;
      if (!stats.finite()) {
        token = 0;  // its log-probability is NaN
      } else if (greedy) {
        token = argmax(x, V);
      } else {
        const auto key = static_cast<uint64_t>(keys[r]);
        const float u = unit_float(philox4x32({static_cast<uint32_t>(positions[r]), 0, 0, 0},
                                              {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)})[0]);
        const bool truncated = op.top_p < 1 || (op.top_k > 0 && op.top_k < V);
        token = truncated ? pick_truncated(x, V, inverse, stats.max, op.top_k, op.top_p, u)
                          : pick_any(x, V, inverse, stats.max, block_sums, u);
      }
      data_as<int32_t>(op.token)[r] = token;
      data_as<float>(op.logp)[r] = stats.logp(widen1(x[token]) * inverse);
      if (op.entropy) data_as<float>(op.entropy)[r] = stats.entropy;
    }
  });
}

void sample(Context& context, const Sample& op) {
  op.logits.dtype == DType::f32 ? sample_rows<float>(context, op) : sample_rows<uint16_t>(context, op);
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(sample);
void sample(Context& context, const Sample& op) { HWY_DYNAMIC_DISPATCH(sample)(context, op); }
}  // namespace r1::cpu
#endif
