#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/adam_w.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/threads.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

template <class E>
void adam_w_flat(Context& context, const AdamW& op, E* weights) {
  float* const master = data_as<float>(op.master);
  const float* const grad = data_as<const float>(op.grad);
  float* const m = data_as<float>(op.m);
  float* const v = data_as<float>(op.v);
  const double step = static_cast<double>(op.step);
  const F16 beta1 = set16(op.beta1), beta2 = set16(op.beta2), rest1 = set16(1.0f - op.beta1), rest2 = set16(1.0f - op.beta2);
  const F16 correct1 = set16(static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(op.beta1), step))));
  const F16 correct2 = set16(static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(op.beta2), step))));
  const F16 lr = set16(op.lr), eps = set16(op.eps), scale = set16(op.grad_scale);
  const auto update_range = [&](int64_t begin, int64_t end, bool decays) HWY_ATTR {
    const F16 decay = set16(decays ? op.weight_decay : 0);
    for (int64_t i = begin; i < end; i += 16) {
      const int64_t n = end - i;
      const F16 g = load16(grad + i, n) * scale, w = load16(master + i, n);
      const F16 mi = fma16(beta1, load16(m + i, n), rest1 * g);
      const F16 vi = fma16(beta2, load16(v + i, n), rest2 * (g * g));
      const F16 update = (mi * correct1) / (sqrt16(vi * correct2) + eps);
      const F16 wi = w - lr * fma16(decay, w, update);
      store16(m + i, mi, n);
      store16(v + i, vi, n);
      store16(master + i, wi, n);
      if (weights) store16(weights + i, wi, n);
    }
  };
  struct Range {
    int64_t begin, end, decays;
  };
  const Range all{0, op.master.size(), 1};
  const Range* const ranges = op.ranges ? data_as<const Range>(op.ranges) : &all;
  const Range* const last = ranges + (op.ranges ? op.ranges.shape[0] : 1);
  for_rows(context, op.master.size(), 1 << 14, 0.5, [&](int64_t begin, int64_t end) HWY_ATTR {
    const Range* r = std::partition_point(ranges, last, [&](const Range& x) { return x.end <= begin; });
    for (; r != last && r->begin < end; ++r) update_range(std::max(begin, r->begin), std::min(end, r->end), r->decays != 0);
  });
}

void adam_w(Context& context, const AdamW& op) {
  if (op.weights && op.weights.dtype == DType::bf16) return adam_w_flat(context, op, data_as<uint16_t>(op.weights));
  adam_w_flat(context, op, op.weights ? data_as<float>(op.weights) : nullptr);
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(adam_w);
void adam_w(Context& context, const AdamW& op) { HWY_DYNAMIC_DISPATCH(adam_w)(context, op); }
}  // namespace r1::cpu
#endif
