// The log-sum-exp of one row of logits: the one routine of loss and sampler, so that their log-probabilities are the same bits.
// Columns are summed in blocks of kVocabularyBlock from column 0.
// To be included after hwy/foreach_target.h, once per target. Thread rule: pure functions.
#if defined(R1_CPU_VOCABULARY_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef R1_CPU_VOCABULARY_INL_H
#undef R1_CPU_VOCABULARY_INL_H
#else
#define R1_CPU_VOCABULARY_INL_H
#endif

#include <cmath>
#include <limits>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

inline constexpr int64_t kVocabularyBlock = 1024;

struct RowStats {
  float max;      // of z = x / temperature
  float log_sum;  // log sum_v exp(z[v] - max)
  float entropy;
  float lse() const { return max + log_sum; }
  float logp(float z) const { return (z - max) - log_sum; }
  bool finite() const { return log_sum == log_sum; }  // of all logits, -inf allowed
};

template <class E>
HWY_INLINE float row_max(const E* x, int64_t V) {
  F16 m[4];
  for (int j = 0; j < 4; ++j) m[j] = set16(-std::numeric_limits<float>::infinity());
  int64_t v = 0;
  for (; v + 64 <= V; v += 64)
    for (int j = 0; j < 4; ++j) m[j] = max16(m[j], load16(x + v + 16 * j));
  for (; v < V; v += 16) m[0] = max16(m[0], select16(first16(V - v), load16(x + v, V - v), m[0]));
  return max_lane16(max16(max16(m[0], m[1]), max16(m[2], m[3])));
}

// exp(z - max) of columns [begin, end) of one block, end - begin <= kVocabularyBlock: their sum, and the sum of them times (z -
// max).
template <class E>
HWY_INLINE float block_sum(const E* x, int64_t begin, int64_t end, float inverse_temperature, float max, float& weighted) {
  const F16 scale = set16(inverse_temperature), shift = set16(max);
  // exp(-1e30) is 0 and stays so when multiplied; a logit of -inf would give 0 * inf. The order of arguments lets a NaN pass:
  // Max gives its second one where either is NaN.
  const F16 least = set16(-1e30f);
  F16 s[4], w[4];
  for (int j = 0; j < 4; ++j) s[j] = w[j] = zero16();
  int64_t v = begin;
  for (; v + 64 <= end; v += 64)
    for (int j = 0; j < 4; ++j) {
      const F16 d = max16(least, load16(x + v + 16 * j) * scale - shift), e = exp16(d);
      s[j] = s[j] + e;
      w[j] = fma16(e, d, w[j]);
    }
  for (; v < end; v += 16) {
    const int64_t n = end - v;
    const F16 d = max16(least, load16(x + v, n) * scale - shift), e = select16(first16(n), exp16(d), zero16());
    s[0] = s[0] + e;
    w[0] = fma16(e, d, w[0]);
  }
  weighted = sum16((w[0] + w[1]) + (w[2] + w[3]));
  return sum16((s[0] + s[1]) + (s[2] + s[3]));
}

// block_sums: [ceil(V / kVocabularyBlock)], or null.
template <class E>
HWY_INLINE RowStats row_stats(const E* x, int64_t V, float inverse_temperature, float* block_sums) {
  const float max = row_max(x, V) * inverse_temperature;
  float sum = 0, weighted = 0;
  for (int64_t v = 0; v < V; v += kVocabularyBlock) {
    float w;
    const float s = block_sum(x, v, v + kVocabularyBlock < V ? v + kVocabularyBlock : V, inverse_temperature, max, w);
    if (block_sums) block_sums[v / kVocabularyBlock] = s;
    sum += s;
    weighted += w;
  }
  const float log_sum = std::log(sum);
  return {max, log_sum, log_sum - weighted / sum};
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
