// The end of our own bf16 products on AVX-512 (bf16_matmul.cpp, bf16_multiply_adds.cpp): sums become rows, or columns, of the
// output.
//
// Only for callers that have the instruction set (kernels/cpu/isa.h). Thread rule: pure functions.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/bf16_matmul.h"
#include "kernels/cpu/bf16_panels.h"

namespace r1::cpu {

// Rows of a call for 1, 2 and 3 registers of b a row: 16 to 24 sums hide the latency of a product, and leave more products than
// loads (a comes by broadcast).
inline constexpr int kMicroParts = 3;
constexpr int64_t micro_limit(int64_t parts) { return parts == 1 ? 16 : parts == 2 ? 12 : 8; }
inline constexpr int64_t kPanel = kMicroParts * 16;

// Rounded to nearest even, denormal numbers to zero: vcvtneps2bf16, and by whole numbers where the CPU has no such instruction.
R1_BF16_INLINE __m256i round_by_numbers(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x), high = _mm512_srli_epi32(bits, 16);
  const __m512i half = _mm512_add_epi32(_mm512_and_si512(high, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7fff));
  __m512i r = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
  const __mmask16 tiny = _mm512_testn_epi32_mask(bits, _mm512_set1_epi32(0x7f800000));
  r = _mm512_mask_and_epi32(r, tiny, high, _mm512_set1_epi32(0x8000));
  r = _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), high, _mm512_set1_epi32(0x40));
  return _mm512_cvtepi32_epi16(r);
}
R1_BF16_INLINE __m256i round_bf16(__m512 x, bool by_instruction) {
  return by_instruction ? (__m256i)_mm512_cvtneps_pbh(x) : round_by_numbers(x);
}

// Quarters of 4 registers as columns: out[i] holds element i of each quarter of rows 0 to 3.
R1_BF16_INLINE void transpose_quarters(__m512 r0, __m512 r1, __m512 r2, __m512 r3, __m512 (&out)[4]) {
  const __m512d low0 = _mm512_castps_pd(_mm512_unpacklo_ps(r0, r1)), high0 = _mm512_castps_pd(_mm512_unpackhi_ps(r0, r1));
  const __m512d low1 = _mm512_castps_pd(_mm512_unpacklo_ps(r2, r3)), high1 = _mm512_castps_pd(_mm512_unpackhi_ps(r2, r3));
  out[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(low0, low1));
  out[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low0, low1));
  out[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high0, high1));
  out[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high0, high1));
}

// Elements place.row + [M0, M0 + 8), as far as there are `rows` (at most M), of the rows of c that the columns of s are.
template <int M0, int M, int P>
R1_BF16_INLINE void finish_columns(const Bf16Matmul& x, const Place& place, int64_t rows, bool by_instruction,
                                   __m512 (&s)[M][P]) {
  constexpr int kCount = M - M0 < 8 ? M - M0 : 8;
  const int64_t first_row = place.row + M0;
  const __mmask8 used = static_cast<__mmask8>((1u << std::min<int64_t>(rows - M0, kCount)) - 1);
  const __m256 bias =
      x.bias
          ? _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_maskz_loadu_epi16(used, x.bias + first_row)), 16))
          : _mm256_setzero_ps();
  const __m512 none = _mm512_setzero_ps();
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
    const auto row = [&](int m) R1_BF16_TARGET { return m < kCount ? s[m < kCount ? M0 + m : 0][p] : none; };
    __m512 low[4], high[4];
    transpose_quarters(row(0), row(1), row(2), row(3), low);
    transpose_quarters(row(4), row(5), row(6), row(7), high);
    alignas(64) float columns[16][8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      // Elements i, 4 + i, 8 + i and 12 + i of both halves.
      const __m512 front = _mm512_shuffle_f32x4(low[i], high[i], 0x44), back = _mm512_shuffle_f32x4(low[i], high[i], 0xee);
      const __m512 a = _mm512_shuffle_f32x4(front, front, 0xd8), b = _mm512_shuffle_f32x4(back, back, 0xd8);
      _mm256_store_ps(columns[i], _mm512_castps512_ps256(a));
      _mm256_store_ps(columns[4 + i], _mm512_extractf32x8_ps(a, 1));
      _mm256_store_ps(columns[8 + i], _mm512_castps512_ps256(b));
      _mm256_store_ps(columns[12 + i], _mm512_extractf32x8_ps(b, 1));
    }
    const int64_t count = std::min<int64_t>(16, place.n - p * 16);
    for (int64_t j = 0; j < count; ++j) {
      const int64_t at = (place.n0 + p * 16 + j) * x.ldc + first_row;
      const __m256 sum = _mm256_load_ps(columns[j]);
      const __m256 r = x.bias ? _mm256_add_ps(sum, bias) : sum;
      if (x.c_type == DType::f32)
        _mm256_mask_storeu_ps(static_cast<float*>(x.c) + at, used, r);
      else
        _mm_mask_storeu_epi16(static_cast<uint16_t*>(x.c) + at, used,
                              _mm256_castsi256_si128(round_bf16(_mm512_castps256_ps512(r), by_instruction)));
    }
  }
}

template <int M, int P>
R1_BF16_INLINE void finish_rows(const Bf16Matmul& x, const Place& place, bool by_instruction, __m512 (&s)[M][P]) {
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
    const __mmask16 columns = first(place.n - p * 16);
    const int64_t column = place.n0 + p * 16;
    const __m512 bias = x.bias ? widen(_mm256_maskz_loadu_epi16(columns, x.bias + column)) : _mm512_setzero_ps();
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const int64_t at = (place.row + m) * x.ldc + column;
      __m512 r = x.bias ? _mm512_add_ps(s[m][p], bias) : s[m][p];
      if (x.c_type == DType::f32) {
        float* const c = static_cast<float*>(x.c) + at;
        if (x.accumulate) r = _mm512_add_ps(_mm512_maskz_loadu_ps(columns, c), r);
        _mm512_mask_storeu_ps(c, columns, r);
      } else {
        uint16_t* const c = static_cast<uint16_t*>(x.c) + at;
        if (x.accumulate) r = _mm512_add_ps(widen(_mm256_maskz_loadu_epi16(columns, c)), r);
        _mm256_mask_storeu_epi16(c, columns, round_bf16(r, by_instruction));
      }
    }
  }
}

// The sums of M rows, in their place. by_instruction: as round_bf16.
template <int M, int P>
R1_BF16_INLINE void finish(const Bf16Matmul& x, const Place& place, bool by_instruction, __m512 (&s)[M][P]) {
  if (!x.c_transposed) return finish_rows(x, place, by_instruction, s);
  finish_columns<0>(x, place, M, by_instruction, s);
  if constexpr (M > 8) finish_columns<8>(x, place, M, by_instruction, s);
}

}  // namespace r1::cpu
