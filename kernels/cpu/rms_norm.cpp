#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rms_norm.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <cmath>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/threads.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

template <class E>
void rms_norm_rows(Context& context, const RmsNorm& op) {
  const Rows<const E> x(op.x);
  const Rows<E> y(op.y);
  const int64_t D = op.w.shape[0];
  const E* const w = data_as<const E>(op.w);
  float* const rstd = op.rstd ? data_as<float>(op.rstd) : nullptr;
  for_rows(context, x.count, 64, 0.2 * static_cast<double>(D), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) {
      const E* const xi = x(i);
      E* const yi = y(i);
      F16 s0 = zero16(), s1 = zero16();
      int64_t d = 0;
      for (; d + 32 <= D; d += 32) {
        const F16 a = load16(xi + d), b = load16(xi + d + 16);
        s0 = fma16(a, a, s0);
        s1 = fma16(b, b, s1);
      }
      for (; d < D; d += 16) {
        const F16 a = load16(xi + d, D - d);
        s0 = fma16(a, a, s0);
      }
      const float r = 1.0f / std::sqrt(sum16(s0 + s1) / static_cast<float>(D) + op.eps);
      if (rstd) rstd[i] = r;
      const F16 scale = set16(r);
      for (d = 0; d < D; d += 16) {
        const int64_t n = D - d;
        store16(yi + d, round_to<E>(load16(xi + d, n) * scale) * load16(w + d, n), n);
      }
    }
  });
}

void rms_norm(Context& context, const RmsNorm& op) {
  op.x.dtype == DType::f32 ? rms_norm_rows<float>(context, op) : rms_norm_rows<uint16_t>(context, op);
}

// With xh = x * rstd and g = dy * w:  dx = rstd * (g - xh * mean(g * xh)),  dw = sum over rows of dy * xh.
template <class E>
void rms_norm_backward_rows(Context& context, const RmsNormBackward& op) {
  constexpr int64_t kTile = 64;  // rows summed into one partial dw: fixed, so that bits do not depend on threads
  const Rows<const E> x(op.x), dy(op.dy);
  const Rows<E> dx(op.dx);
  const int64_t D = op.w.shape[0], Dp = (D + 15) / 16 * 16;
  const E* const w = data_as<const E>(op.w);
  const float* const rstd = data_as<const float>(op.rstd);
  const auto mark = context.arena.mark();
  const int64_t tiles = (x.count + kTile - 1) / kTile;
  float* const partial = data_as<float>(context.arena.alloc(DType::f32, {tiles, Dp}));
  for_rows(context, x.count, kTile, 0.6 * static_cast<double>(D), [&](int64_t begin, int64_t end) HWY_ATTR {
    float* const dw = partial + begin / kTile * Dp;
    for (int64_t d = 0; d < Dp; ++d) dw[d] = 0;
    for (int64_t i = begin; i < end; ++i) {
      const E* const xi = x(i);
      const E* const dyi = dy(i);
      E* const dxi = dx(i);
      const F16 scale = set16(rstd[i]);
      F16 s = zero16();
      for (int64_t d = 0; d < D; d += 16) {
        const int64_t n = D - d;
        const F16 xh = load16(xi + d, n) * scale, g = load16(dyi + d, n);
        s = fma16(g * load16(w + d, n), xh, s);
        store16(dw + d, fma16(g, xh, load16(dw + d)));
      }
      const F16 mean = set16(sum16(s) / static_cast<float>(D));
      for (int64_t d = 0; d < D; d += 16) {
        const int64_t n = D - d;
        const F16 xh = load16(xi + d, n) * scale, g = load16(dyi + d, n) * load16(w + d, n);
        F16 r = scale * (g - xh * mean);
        if (op.accumulate) r = load16(dxi + d, n) + r;
        store16(dxi + d, r, n);
      }
    }
  });
  float* const dw = data_as<float>(op.dw);
  for (int64_t i = 0; i < tiles; ++i)
    for (int64_t d = 0; d < D; d += 16) store16(dw + d, load16(dw + d, D - d) + load16(partial + i * Dp + d), D - d);
  context.arena.release(mark);
}

void rms_norm_backward(Context& context, const RmsNormBackward& op) {
  op.x.dtype == DType::f32 ? rms_norm_backward_rows<float>(context, op) : rms_norm_backward_rows<uint16_t>(context, op);
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(rms_norm);
HWY_EXPORT(rms_norm_backward);
void rms_norm(Context& context, const RmsNorm& op) { HWY_DYNAMIC_DISPATCH(rms_norm)(context, op); }
void rms_norm_backward(Context& context, const RmsNormBackward& op) { HWY_DYNAMIC_DISPATCH(rms_norm_backward)(context, op); }
}  // namespace r1::cpu
#endif
