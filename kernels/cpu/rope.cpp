#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rope.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/threads.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

// (a, b) -> (a cos - b sin, b cos + a sin)
template <class E>
void rope_rows(Context& context, const Rope& op) {
  const Rows<E> x(op.x);
  const int64_t R = op.table.shape[1], half = R / 2;
  const int32_t* const positions = data_as<const int32_t>(op.positions);
  const float* const table = data_as<const float>(op.table);
  const float sign = op.inverse ? -1.0f : 1.0f;
  for_rows(context, op.x.shape[0], 32, 0.3 * static_cast<double>(R * x.heads), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const float* const cosine = table + positions[t] * R;
      const float* const sine = cosine + half;
      for (int64_t h = 0; h < x.heads; ++h) {
        E* const row = x(t, h);
        if (op.interleaved) {
          for (int64_t i = 0; i < half; ++i) {
            const float a = widen1(row[2 * i]), b = widen1(row[2 * i + 1]), c = cosine[i], s = sine[i] * sign;
            row[2 * i] = narrow1(a * c - b * s, E{});
            row[2 * i + 1] = narrow1(b * c + a * s, E{});
          }
          continue;
        }
        for (int64_t i = 0; i < half; i += 16) {
          const int64_t n = half - i;
          const F16 a = load16(row + i, n), b = load16(row + half + i, n);
          const F16 c = load16(cosine + i, n), s = load16(sine + i, n) * set16(sign);
          store16(row + i, a * c - b * s, n);
          store16(row + half + i, b * c + a * s, n);
        }
      }
    }
  });
}

void rope(Context& context, const Rope& op) {
  op.x.dtype == DType::f32 ? rope_rows<float>(context, op) : rope_rows<uint16_t>(context, op);
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(rope);
void rope(Context& context, const Rope& op) { HWY_DYNAMIC_DISPATCH(rope)(context, op); }
}  // namespace r1::cpu
#endif
