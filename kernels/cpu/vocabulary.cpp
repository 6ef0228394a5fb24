#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/vocabulary.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <fmt/format.h>

#include "base/error.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/vocabulary-inl.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

inline constexpr int64_t kRowTile = 8;

template <class E>
void log_prob_rows(Context& context, const LogProb& op) {
  const Rows<const E> logits(op.logits);
  const int64_t V = op.logits.shape[1];
  const int32_t* const targets = data_as<const int32_t>(op.targets);
  const float inverse = 1.0f / op.temperature;
  for_rows(context, logits.count, kRowTile, 20 + 0.5 * static_cast<double>(V), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const E* const x = logits(t);
      R1_CHECK(0 <= targets[t] && targets[t] < V, fmt::format("target {} of {}", targets[t], V));
      const RowStats stats = row_stats(x, V, inverse, nullptr);
      data_as<float>(op.logp)[t] = stats.logp(widen1(x[targets[t]]) * inverse);
      data_as<float>(op.lse)[t] = stats.lse();
      if (op.entropy) data_as<float>(op.entropy)[t] = stats.entropy;
    }
  });
}

void log_prob(Context& context, const LogProb& op) {
  op.logits.dtype == DType::f32 ? log_prob_rows<float>(context, op) : log_prob_rows<uint16_t>(context, op);
}

template <class E>
void log_prob_backward_rows(Context& context, const LogProbBackward& op) {
  const Rows<const E> logits(op.logits);
  const Rows<E> dlogits(op.dlogits);
  const int64_t V = op.logits.shape[1];
  const int32_t* const targets = data_as<const int32_t>(op.targets);
  const float inverse = 1.0f / op.temperature;
  for_rows(context, logits.count, kRowTile, 20 + 0.4 * static_cast<double>(V), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const E* const x = logits(t);
      E* const d = dlogits(t);
      const float slope = data_as<const float>(op.dlogp)[t] * inverse, lse = data_as<const float>(op.lse)[t];
      if (slope == 0) {
        std::memset(d, 0, static_cast<size_t>(V) * sizeof(E));
        continue;
      }
      const float at_target = slope * (1.0f - exp1(widen1(x[targets[t]]) * inverse - lse));
      const F16 scale = set16(inverse), shift = set16(lse), factor = set16(-slope);
      for (int64_t v = 0; v < V; v += 16) store16(d + v, factor * exp16(load16(x + v, V - v) * scale - shift), V - v);
      d[targets[t]] = narrow1(at_target, E{});
    }
  });
}

void log_prob_backward(Context& context, const LogProbBackward& op) {
  op.logits.dtype == DType::f32 ? log_prob_backward_rows<float>(context, op) : log_prob_backward_rows<uint16_t>(context, op);
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(log_prob);
HWY_EXPORT(log_prob_backward);
void log_prob(Context& context, const LogProb& op) { HWY_DYNAMIC_DISPATCH(log_prob)(context, op); }
void log_prob_backward(Context& context, const LogProbBackward& op) { HWY_DYNAMIC_DISPATCH(log_prob_backward)(context, op); }
}  // namespace r1::cpu
#endif
