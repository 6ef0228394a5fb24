#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/f32_matmul.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <algorithm>

#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/threads.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

// Registers: with AVX-512 8 rows x 3 F16 are 24 sums, 3 of b, and a comes by broadcast; with AVX2 6 rows x 2 registers are 12
// of 16.
inline constexpr int kMicroRows = kLanes == 16 ? 8 : kLanes == 1 ? 1 : 6;
inline constexpr int kMicroParts = kLanes == 16 ? 3 : 1;
inline constexpr int64_t kPanel = kMicroParts * 16;
// 256 x 48 floats of b: what the first-level cache holds. Rows beyond kRowBlock are the caller's tiles.
inline constexpr int64_t kDepthBlock = 256;
inline constexpr int64_t kRowBlock = 256;

// Columns [n0, n0 + n) and depths [k0, k0 + k) of b as [k][width], width = n rounded up to 16, the rest zero.
HWY_INLINE void pack_panel(const F32Matmul& x, int64_t n0, int64_t n, int64_t k0, int64_t k, int64_t width, float* panel) {
  if (!x.trans_b) {
    for (int64_t i = 0; i < k; ++i)
      for (int64_t j = 0; j < width; j += 16)
        store16(panel + i * width + j, load16(x.b + (k0 + i) * x.ldb + n0 + j, std::clamp<int64_t>(n - j, 0, 16)));
    return;
  }
  for (int64_t j = 0; j < width; j += 16)
    transpose16(x.b + (n0 + j) * x.ldb + k0, x.ldb, std::clamp<int64_t>(n - j, 0, 16), k, panel + j, width);
}

// M rows times one panel. sums: [M][width], the sums so far (in, unless `first`; out, unless `last`).
template <int M, int P>
void micro(const F32Matmul& x, const float* a, const float* panel, int64_t k, float* sums, bool first, bool last, int64_t row,
           int64_t n0, int64_t n) {
  F16 s[M][P];
  R1_UNROLL for (int m = 0; m < M; ++m) R1_UNROLL for (int p = 0; p < P; ++p) s[m][p] =
      first ? zero16() : load16(sums + (m * P + p) * 16);
  const int64_t lda = x.lda;
  for (int64_t i = 0; i < k; ++i) {
    F16 b[P];
    R1_UNROLL for (int p = 0; p < P; ++p) b[p] = load16(panel + (i * P + p) * 16);
    R1_UNROLL for (int m = 0; m < M; ++m) {
      const F16 am = set16(a[m * lda + i]);
      R1_UNROLL for (int p = 0; p < P; ++p) s[m][p] = fma16(am, b[p], s[m][p]);
    }
  }
  if (!last) {
    R1_UNROLL for (int m = 0; m < M; ++m) R1_UNROLL for (int p = 0; p < P; ++p) store16(sums + (m * P + p) * 16, s[m][p]);
    return;
  }
  R1_UNROLL for (int p = 0; p < P; ++p) {
    const int64_t left = n - p * 16;
    const F16 bias = x.bias ? load16(x.bias + n0 + p * 16, left) : zero16();
    R1_UNROLL for (int m = 0; m < M; ++m) {
      float* const c = x.c + (row + m) * x.ldc + n0 + p * 16;
      F16 r = x.bias ? s[m][p] + bias : s[m][p];
      if (x.accumulate) r = load16(c, left) + r;
      store16(c, r, left);
    }
  }
}

template <int P, int M = kMicroRows>
HWY_INLINE void micro_rows(int64_t rows, const F32Matmul& x, const float* a, const float* panel, int64_t k, float* sums,
                           bool first, bool last, int64_t row, int64_t n0, int64_t n) {
  if constexpr (M > 1) {
    if (rows < M) return micro_rows<P, M - 1>(rows, x, a, panel, k, sums, first, last, row, n0, n);
  }
  micro<M, P>(x, a, panel, k, sums, first, last, row, n0, n);
}

void matmul_f32(const F32Matmul& x) {
  float* const panel = scratch<float>(ScratchSlot::matmul, kDepthBlock * kPanel + kRowBlock * kPanel);
  float* const sums = panel + kDepthBlock * kPanel;
  for (int64_t m0 = 0; m0 < x.m; m0 += kRowBlock) {
    const int64_t m1 = std::min(m0 + kRowBlock, x.m);
    for (int64_t n0 = 0; n0 < x.n; n0 += kPanel) {
      const int64_t n = std::min(kPanel, x.n - n0), width = (n + 15) / 16 * 16;
      for (int64_t k0 = 0; k0 < x.k; k0 += kDepthBlock) {
        const int64_t k = std::min(kDepthBlock, x.k - k0);
        const bool first = k0 == 0, last = k0 + k == x.k;
        pack_panel(x, n0, n, k0, k, width, panel);
        for (int64_t m = m0; m < m1; m += kMicroRows) {
          const int64_t rows = std::min<int64_t>(kMicroRows, m1 - m);
          const float* const a = x.a + m * x.lda + k0;
          float* const s = sums + (m - m0) * width;
          if (width == 16) {
            micro_rows<1>(rows, x, a, panel, k, s, first, last, m, n0, n);
          } else if constexpr (kMicroParts == 3) {
            if (width == 32) micro_rows<2>(rows, x, a, panel, k, s, first, last, m, n0, n);
            if (width == 48) micro_rows<3>(rows, x, a, panel, k, s, first, last, m, n0, n);
          }
        }
      }
    }
  }
}

template <class E>
void finish_rows(const float* sums, int64_t ld, const uint16_t* bias, E* out, int64_t out_ld, int64_t m, int64_t n,
                 bool accumulate) {
  for (int64_t r = 0; r < m; ++r)
    for (int64_t i = 0; i < n; i += 16) {
      F16 s = load16(sums + r * ld + i, n - i);
      if (bias) s = s + load16(bias + i, n - i);
      if (accumulate) s = load16(out + r * out_ld + i, n - i) + s;
      store16(out + r * out_ld + i, s, n - i);
    }
}

void finish_sums_of(const float* sums, int64_t ld, const uint16_t* bias, void* out, DType out_type, int64_t out_ld, int64_t m,
                    int64_t n, bool accumulate) {
  out_type == DType::f32 ? finish_rows(sums, ld, bias, static_cast<float*>(out), out_ld, m, n, accumulate)
                         : finish_rows(sums, ld, bias, static_cast<uint16_t*>(out), out_ld, m, n, accumulate);
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(matmul_f32);
HWY_EXPORT(finish_sums_of);
void f32_matmul(const F32Matmul& args) { HWY_DYNAMIC_DISPATCH(matmul_f32)(args); }
void finish_sums(const float* sums, int64_t ld, const uint16_t* bias, void* out, DType out_type, int64_t out_ld, int64_t m,
                 int64_t n, bool accumulate) {
  HWY_DYNAMIC_DISPATCH(finish_sums_of)(sums, ld, bias, out, out_type, out_ld, m, n, accumulate);
}
}  // namespace r1::cpu
#endif
