// The experts' results back in order of tokens; and the keys of latent attention.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/moe_combine.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/threads.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

template <class E>
void combine_rows(Context& context, const MoeCombine& op) {
  const int64_t k = op.places.shape[1], D = op.y.shape[1];
  const int32_t* const places = data_as<const int32_t>(op.places);
  const float* const weights = op.weights ? data_as<const float>(op.weights) : nullptr;
  const E* const z = data_as<const E>(op.z);
  E* const y = data_as<E>(op.y);
  for_rows(context, op.y.shape[0], 32, 0.1 * static_cast<double>(D * (k + 1)), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      E* const yt = y + t * D;
      for (int64_t i = 0; i < D; i += 16) {
        F16 sum = op.accumulate ? load16(yt + i, D - i) : zero16();
        for (int64_t j = 0; j < k; ++j) {
          const F16 x = load16(z + places[t * k + j] * D + i, D - i);
          sum = weights ? fma16(set16(weights[t * k + j]), x, sum) : sum + x;
        }
        store16(yt + i, sum, D - i);
      }
    }
  });
}

void moe_combine(Context& context, const MoeCombine& op) {
  op.y.dtype == DType::f32 ? combine_rows<float>(context, op) : combine_rows<uint16_t>(context, op);
}

template <class E>
void combine_backward_rows(Context& context, const MoeCombineBackward& op) {
  const int64_t k = op.places.shape[1], D = op.dy.shape[1];
  const int32_t* const places = data_as<const int32_t>(op.places);
  const float* const weights = op.weights ? data_as<const float>(op.weights) : nullptr;
  float* const dweights = op.dweights ? data_as<float>(op.dweights) : nullptr;
  const E* const dy = data_as<const E>(op.dy);
  for_rows(context, op.dy.shape[0], 32, 0.2 * static_cast<double>(D * k), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const E* const dyt = dy + t * D;
      for (int64_t j = 0; j < k; ++j) {
        const int64_t place = places[t * k + j];
        const E* const z = data_as<const E>(op.z) + place * D;
        E* const dz = data_as<E>(op.dz) + place * D;
        const F16 w = set16(weights ? weights[t * k + j] : 1.0f);
        F16 dot = zero16();
        for (int64_t i = 0; i < D; i += 16) {
          const F16 d = load16(dyt + i, D - i);
          store16(dz + i, w * d, D - i);
          dot = fma16(d, load16(z + i, D - i), dot);
        }
        if (dweights) dweights[t * k + j] = sum16(dot);
      }
    }
  });
}

void moe_combine_backward(Context& context, const MoeCombineBackward& op) {
  op.dy.dtype == DType::f32 ? combine_backward_rows<float>(context, op) : combine_backward_rows<uint16_t>(context, op);
}

template <class E>
void keys_rows(Context& context, const MlaKeys& op) {
  const int64_t heads = op.k.shape[1], R = op.kr.shape[1], P = op.k.shape[2] - R;
  const Rows<const E> kv(op.kv), kr(op.kr);
  const Rows<E> k(op.k);
  for_rows(context, op.k.shape[0], 32, 10 + 0.1 * static_cast<double>(heads * (P + R)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t h = 0; h < heads; ++h) {
        std::memcpy(k(t, h), kv(t, h), static_cast<size_t>(P) * sizeof(E));
        std::memcpy(k(t, h) + P, kr(t), static_cast<size_t>(R) * sizeof(E));
      }
  });
}

void mla_keys(Context& context, const MlaKeys& op) {
  op.k.dtype == DType::f32 ? keys_rows<float>(context, op) : keys_rows<uint16_t>(context, op);
}

template <class E>
void keys_backward_rows(Context& context, const MlaKeysBackward& op) {
  const int64_t heads = op.dk.shape[1], R = op.dkr.shape[1], P = op.dk.shape[2] - R;
  const Rows<const E> dk(op.dk);
  const Rows<E> dkv(op.dkv), dkr(op.dkr);
  for_rows(context, op.dk.shape[0], 32, 10 + 0.1 * static_cast<double>(heads * (P + R)),
           [&](int64_t begin, int64_t end) HWY_ATTR {
             for (int64_t t = begin; t < end; ++t) {
               for (int64_t h = 0; h < heads; ++h) std::memcpy(dkv(t, h), dk(t, h), static_cast<size_t>(P) * sizeof(E));
               for (int64_t i = 0; i < R; i += 16) {
                 F16 sum = zero16();
                 for (int64_t h = 0; h < heads; ++h) sum = sum + load16(dk(t, h) + P + i, R - i);
                 store16(dkr(t) + i, sum, R - i);
               }
             }
           });
}

void mla_keys_backward(Context& context, const MlaKeysBackward& op) {
  op.dk.dtype == DType::f32 ? keys_backward_rows<float>(context, op) : keys_backward_rows<uint16_t>(context, op);
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(moe_combine);
HWY_EXPORT(moe_combine_backward);
HWY_EXPORT(mla_keys);
HWY_EXPORT(mla_keys_backward);
void moe_combine(Context& context, const MoeCombine& op) { HWY_DYNAMIC_DISPATCH(moe_combine)(context, op); }
void moe_combine_backward(Context& context, const MoeCombineBackward& op) {
  HWY_DYNAMIC_DISPATCH(moe_combine_backward)(context, op);
}
void mla_keys(Context& context, const MlaKeys& op) { HWY_DYNAMIC_DISPATCH(mla_keys)(context, op); }
void mla_keys_backward(Context& context, const MlaKeysBackward& op) { HWY_DYNAMIC_DISPATCH(mla_keys_backward)(context, op); }
}  // namespace r1::cpu
#endif
