#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/swiglu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/threads.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

template <class E>
void swiglu_rows(Context& context, const SwiGlu& op) {
  const Rows<const E> gate_up(op.gate_up);
  const Rows<E> y(op.y);
  const int64_t F = op.y.shape[1];
  for_rows(context, y.count, 16, 0.8 * static_cast<double>(F), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const E* const gate = gate_up(t);
      const E* const up = gate + F;
      E* const yt = y(t);
      for (int64_t i = 0; i < F; i += 16) {
        const F16 g = load16(gate + i, F - i);
        store16(yt + i, g * sigmoid16(g) * load16(up + i, F - i), F - i);
      }
    }
  });
}

void swiglu(Context& context, const SwiGlu& op) {
  op.y.dtype == DType::f32 ? swiglu_rows<float>(context, op) : swiglu_rows<uint16_t>(context, op);
}

// With s = sigmoid(g):  dg = dy u s (1 + g (1 - s)),  du = dy g s.
template <class E>
void swiglu_backward_rows(Context& context, const SwiGluBackward& op) {
  const Rows<const E> gate_up(op.gate_up), dy(op.dy);
  const Rows<E> dgate_up(op.dgate_up);
  const int64_t F = op.dy.shape[1];
  for_rows(context, dy.count, 16, 1.0 * static_cast<double>(F), [&](int64_t begin, int64_t end) HWY_ATTR {
    const F16 one = set16(1.0f);
    for (int64_t t = begin; t < end; ++t) {
      const E* const gate = gate_up(t);
      const E* const up = gate + F;
      const E* const dyt = dy(t);
      E* const dgate = dgate_up(t);
      E* const dup = dgate + F;
      for (int64_t i = 0; i < F; i += 16) {
        const int64_t n = F - i;
        const F16 g = load16(gate + i, n), s = sigmoid16(g), d = load16(dyt + i, n) * s;
        store16(dgate + i, d * load16(up + i, n) * fma16(g, one - s, one), n);
        store16(dup + i, d * g, n);
      }
    }
  });
}

void swiglu_backward(Context& context, const SwiGluBackward& op) {
  op.dy.dtype == DType::f32 ? swiglu_backward_rows<float>(context, op) : swiglu_backward_rows<uint16_t>(context, op);
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(swiglu);
HWY_EXPORT(swiglu_backward);
void swiglu(Context& context, const SwiGlu& op) { HWY_DYNAMIC_DISPATCH(swiglu)(context, op); }
void swiglu_backward(Context& context, const SwiGluBackward& op) { HWY_DYNAMIC_DISPATCH(swiglu_backward)(context, op); }
}  // namespace r1::cpu
#endif
