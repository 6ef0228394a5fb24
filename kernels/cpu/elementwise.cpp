#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <cmath>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/threads.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

template <class T>
void fill_flat(Context& context, const View& x, T value) {
  T* const p = data_as<T>(x);
  for_rows(context, x.size(), 1 << 16, 0.1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) p[i] = value;
  });
}

void fill(Context& context, const Fill& op) {
  switch (op.x.dtype) {
    case DType::f32:
      return fill_flat(context, op.x, op.value);
    case DType::bf16:
      return fill_flat(context, op.x, bf16_from_f32(op.value));
    case DType::i32:
      return fill_flat(context, op.x, static_cast<int32_t>(op.value));
    case DType::i64:
      return fill_flat(context, op.x, static_cast<int64_t>(op.value));
  }
}

template <class S, class D>
HWY_INLINE void convert_row(const S* src, D* dst, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) store16(dst + i, load16(src + i, n - i), n - i);
}

void convert_any_row(const std::byte* src, DType src_type, std::byte* dst, DType dst_type, int64_t n) {
  if (src_type == dst_type) {
    std::memcpy(dst, src, static_cast<size_t>(n) * dtype_size(src_type));
  } else if (src_type == DType::f32) {
    convert_row(reinterpret_cast<const float*>(src), reinterpret_cast<uint16_t*>(dst), n);
  } else {
    convert_row(reinterpret_cast<const uint16_t*>(src), reinterpret_cast<float*>(dst), n);
  }
}

void copy(Context& context, const Copy& op) {
  const View& s = op.src;
  const View& d = op.dst;
  const auto s_size = static_cast<int64_t>(dtype_size(s.dtype)), d_size = static_cast<int64_t>(dtype_size(d.dtype));
  if (s.contiguous() && d.contiguous()) {
    for_rows(context, s.size(), 1 << 15, 0.2, [&](int64_t begin, int64_t end) {
      convert_any_row(s.data + begin * s_size, s.dtype, d.data + begin * d_size, d.dtype, end - begin);
    });
    return;
  }
  const int last = s.rank - 1;
  const int64_t n = s.shape[last];
  const int64_t rows = s.size() / (n > 0 ? n : 1);
  for_rows(context, rows, 64, 5 + 0.2 * static_cast<double>(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      int64_t left = r, from = 0, to = 0;
      for (int i = last - 1; i >= 0; --i) {
        from += left % s.shape[i] * s.stride[i];
        to += left % s.shape[i] * d.stride[i];
        left /= s.shape[i];
      }
      convert_any_row(s.data + from * s_size, s.dtype, d.data + to * d_size, d.dtype, n);
    }
  });
}

void convert_matrix(const void* src, DType src_type, int64_t src_ld, void* dst, DType dst_type, int64_t dst_ld, int64_t rows,
                    int64_t cols) {
  const auto s_size = static_cast<int64_t>(dtype_size(src_type)), d_size = static_cast<int64_t>(dtype_size(dst_type));
  for (int64_t r = 0; r < rows; ++r)
    convert_any_row(static_cast<const std::byte*>(src) + r * src_ld * s_size, src_type,
                    static_cast<std::byte*>(dst) + r * dst_ld * d_size, dst_type, cols);
}

void axpby(Context& context, const Axpby& op) {
  const float* const x = data_as<const float>(op.x);
  float* const y = data_as<float>(op.y);
  const F16 alpha = set16(op.alpha), beta = set16(op.beta);
  for_rows(context, op.x.size(), 1 << 14, 0.2, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = begin; i < end; i += 16) {
      const int64_t n = end - i;
      // beta 0: y may hold anything, NaN included.
      const F16 product = alpha * load16(x + i, n);
      store16(y + i, op.beta == 0 ? product : fma16(beta, load16(y + i, n), product), n);
    }
  });
}

void scale_by_norm(Context& context, const ScaleByNorm& op) {
  float* const x = data_as<float>(op.x);
  const F16 factor = set16(1 / (std::sqrt(*data_as<const float>(op.square)) + op.floor));
  for_rows(context, op.x.size(), 1 << 14, 0.2, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = begin; i < end; i += 16) store16(x + i, factor * load16(x + i, end - i), end - i);
  });
}

const char* target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(fill);
HWY_EXPORT(copy);
HWY_EXPORT(axpby);
HWY_EXPORT(scale_by_norm);
void fill(Context& context, const Fill& op) { HWY_DYNAMIC_DISPATCH(fill)(context, op); }
void copy(Context& context, const Copy& op) { HWY_DYNAMIC_DISPATCH(copy)(context, op); }
void axpby(Context& context, const Axpby& op) { HWY_DYNAMIC_DISPATCH(axpby)(context, op); }
void scale_by_norm(Context& context, const ScaleByNorm& op) { HWY_DYNAMIC_DISPATCH(scale_by_norm)(context, op); }
HWY_EXPORT(convert_matrix);
void convert_rows(const void* src, DType src_type, int64_t src_ld, void* dst, DType dst_type, int64_t dst_ld, int64_t rows,
                  int64_t cols) {
  HWY_DYNAMIC_DISPATCH(convert_matrix)(src, src_type, src_ld, dst, dst_type, dst_ld, rows, cols);
}
HWY_EXPORT(target_name);
const char* simd_target() { return HWY_DYNAMIC_DISPATCH(target_name)(); }
}  // namespace r1::cpu
#endif
