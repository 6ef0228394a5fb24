// bf16 pairs in AVX-512 registers: what the kernels of bf16 products share (bf16_matmul.cpp, bf16_multiply_adds.cpp,
// amx_matmul.cpp).
//
// Not Highway: 1.0 has no target between AVX-512 and AVX-512 with fp16, so these functions name their instruction set
// themselves. Only for callers that have it (kernels/cpu/isa.h). Thread rule: pure functions.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#define R1_BF16_TARGET __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define R1_BF16_INLINE R1_BF16_TARGET inline __attribute__((always_inline))

namespace r1::cpu {

// bf16 pairs as the 32-bit elements of a register.
using Pairs = __m512i;

R1_BF16_INLINE __mmask16 first(int64_t n) {
  return n >= 16 ? __mmask16{0xffff} : static_cast<__mmask16>((1u << std::max<int64_t>(n, 0)) - 1);
}
R1_BF16_INLINE __m512 widen(__m256i h) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16)); }
R1_BF16_INLINE __m512 dot(__m512 sum, Pairs a, Pairs b) { return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b); }

// The two bf16 of every pair as f32.
R1_BF16_INLINE __m512 even_of(Pairs p) { return _mm512_castsi512_ps(_mm512_slli_epi32(p, 16)); }
R1_BF16_INLINE __m512 odd_of(Pairs p) {
  return _mm512_castsi512_ps(_mm512_and_si512(p, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}

// Sixteen rows of sixteen pairs, `ld` bf16 apart, as columns: put(pair, the sixteen rows'). Rows are gathered by loads that
// broadcast 16 bytes into a quarter of a register: half the shuffles of a transpose in registers, and no spills.
template <class F>
R1_BF16_INLINE void transpose(const uint16_t* in, int64_t ld, F&& put) {
  for (int64_t pair = 0; pair < 16; pair += 4) {
    Pairs v[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const auto piece = [&](int64_t row) R1_BF16_TARGET {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + row * ld + 2 * pair));
      };
      v[i] = _mm512_broadcast_i32x4(piece(i));
      v[i] = _mm512_mask_broadcast_i32x4(v[i], 0x00f0, piece(i + 4));
      v[i] = _mm512_mask_broadcast_i32x4(v[i], 0x0f00, piece(i + 8));
      v[i] = _mm512_mask_broadcast_i32x4(v[i], 0xf000, piece(i + 12));
    }
    const Pairs low0 = _mm512_unpacklo_epi32(v[0], v[1]), high0 = _mm512_unpackhi_epi32(v[0], v[1]);
    const Pairs low1 = _mm512_unpacklo_epi32(v[2], v[3]), high1 = _mm512_unpackhi_epi32(v[2], v[3]);
    put(pair, _mm512_unpacklo_epi64(low0, low1));
    put(pair + 1, _mm512_unpackhi_epi64(low0, low1));
    put(pair + 2, _mm512_unpacklo_epi64(high0, high1));
    put(pair + 3, _mm512_unpackhi_epi64(high0, high1));
  }
}
// The same as out[pair * stride + row].
R1_BF16_INLINE void transpose(const uint16_t* in, int64_t ld, uint32_t* out, int64_t stride) {
  transpose(in, ld, [&](int64_t pair, Pairs rows) R1_BF16_TARGET { _mm512_store_si512(out + pair * stride, rows); });
}

// Sixteen columns of two rows as pairs.
R1_BF16_INLINE Pairs interleave(__m256i even, __m256i odd) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}
// Rows `even` and `odd` as pairs of one column each; the columns beyond the mask are zero and not read, a null row is zero.
R1_BF16_INLINE Pairs interleave(const uint16_t* even, const uint16_t* odd, __mmask16 columns) {
  const __m256i low = even ? _mm256_maskz_loadu_epi16(columns, even) : _mm256_setzero_si256();
  const __m256i high = odd ? _mm256_maskz_loadu_epi16(columns, odd) : _mm256_setzero_si256();
  return interleave(low, high);
}

}  // namespace r1::cpu
