#include "kernels/cpu/bf16_matmul.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/threads.h"

namespace r1::cpu {
namespace {

// Rows of a call for 1, 2 and 3 registers of b a row: 16 to 24 sums hide the latency of a product, and leave more products than
// loads (a comes by broadcast).
constexpr int kMicroParts = 3;
constexpr int64_t micro_limit(int64_t parts) { return parts == 1 ? 16 : parts == 2 ? 12 : 8; }
constexpr int64_t kPanel = kMicroParts * 16;
// 256 pairs x 48 columns are 48 KiB, which the second-level cache delivers at 8 bytes a cycle; half of it is 3 to 5 percent
// slower, because of the sums that come and go.
constexpr int64_t kDepthBlock = 512;
constexpr int64_t kRowBlock = 256;

// Whether there are so few rows of a that b, which comes from memory, is what takes the time. It comes a third faster if a
// panel stays in the first-level cache, and if packing asks for the next one: sixteen streams are more than the hardware
// follows. With more rows there is time to ask for it meanwhile (Block::ahead).
bool waits_for_b(const Bf16Matmul& x) { return x.trans_b && !x.c_transposed && x.m <= 12; }

// Columns [n0, n0 + n) and depths [k0, k0 + k) of b as pairs [k/2 rounded up to 16][parts * 16], what is missing zero.
R1_BF16_TARGET void pack_transposed(const Bf16Matmul& x, int64_t n0, int64_t n, int64_t k0, int64_t k, int64_t parts,
                                    uint32_t* panel) {
  const bool ahead = waits_for_b(x);
  for (int64_t part = 0; part < parts; ++part) {
    const uint16_t* const b = x.b + (n0 + part * 16) * x.ldb + k0;
    const int64_t columns = std::min<int64_t>(n - part * 16, 16);
    for (int64_t i = 0; i < k; i += 32) {
      for (int64_t c = 0; c < 16 && ahead; ++c)
        _mm_prefetch(reinterpret_cast<const char*>(b + (c + kPanel) * x.ldb + i), _MM_HINT_T1);
      uint32_t* const out = panel + (i / 2 * parts + part) * 16;
      if (columns == 16 && i + 32 <= k) {
        transpose(b + i, x.ldb, out, parts * 16);
        continue;
      }
      alignas(64) uint16_t edge[16 * 32] = {};
      for (int64_t c = 0; c < columns; ++c)
        std::memcpy(edge + c * 32, b + c * x.ldb + i, static_cast<size_t>(std::min<int64_t>(k - i, 32)) * sizeof(uint16_t));
      transpose(edge, 32, out, parts * 16);
    }
  }
}

R1_BF16_TARGET void pack_plain(const Bf16Matmul& x, int64_t n0, int64_t n, int64_t k0, int64_t k, int64_t parts,
                               uint32_t* panel) {
  for (int64_t i = 0; i < (k + 1) / 2; ++i) {
    const uint16_t* const even = x.b + (k0 + 2 * i) * x.ldb + n0;
    const bool whole = 2 * i + 1 < k;
    for (int64_t part = 0; part < parts; ++part) {
      const __mmask16 columns = first(n - part * 16);
      const __m256i low = _mm256_maskz_loadu_epi16(columns, even + part * 16);
      const __m256i high = whole ? _mm256_maskz_loadu_epi16(columns, even + x.ldb + part * 16) : _mm256_setzero_si256();
      const Pairs both = _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
      _mm512_store_si512(panel + (i * parts + part) * 16, both);
    }
  }
}

// One block of depth for M rows and one panel.
struct Block {
  const uint16_t* a;
  const uint32_t* panel;
  int64_t k;
  float* sums;  // [M][P * 16]: the sums so far (in, unless first; out, unless last)
  bool first, last;
  int64_t row, n0, n;  // of the output
  // What is fetched meanwhile: 16 * ahead_lines rows of a or b, ahead_ld apart.
  const uint16_t* ahead;
  int64_t ahead_ld, ahead_lines;
};

// Quarters of 4 registers as columns: out[i] holds element i of each quarter of rows 0 to 3.
R1_BF16_INLINE void transpose_quarters(__m512 r0, __m512 r1, __m512 r2, __m512 r3, __m512 (&out)[4]) {
  const __m512d low0 = _mm512_castps_pd(_mm512_unpacklo_ps(r0, r1)), high0 = _mm512_castps_pd(_mm512_unpackhi_ps(r0, r1));
  const __m512d low1 = _mm512_castps_pd(_mm512_unpacklo_ps(r2, r3)), high1 = _mm512_castps_pd(_mm512_unpackhi_ps(r2, r3));
  out[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(low0, low1));
  out[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low0, low1));
  out[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high0, high1));
  out[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high0, high1));
}

// Elements block.row + [M0, M0 + 8), as far as there are M, of the rows of c that the columns of s are.
template <int M0, int M, int P>
R1_BF16_INLINE void finish_columns(const Bf16Matmul& x, const Block& block, __m512 (&s)[M][P]) {
  constexpr int kCount = M - M0 < 8 ? M - M0 : 8;
  const int64_t first_row = block.row + M0;
  const __mmask8 used = static_cast<__mmask8>((1u << kCount) - 1);
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
    const int64_t count = std::min<int64_t>(16, block.n - p * 16);
    for (int64_t j = 0; j < count; ++j) {
      const int64_t at = (block.n0 + p * 16 + j) * x.ldc + first_row;
      const __m256 sum = _mm256_load_ps(columns[j]);
      const __m256 r = x.bias ? _mm256_add_ps(sum, bias) : sum;
      if (x.c_type == DType::f32)
        _mm256_mask_storeu_ps(static_cast<float*>(x.c) + at, used, r);
      else
        _mm_mask_storeu_epi16(static_cast<uint16_t*>(x.c) + at, used, (__m128i)_mm256_cvtneps_pbh(r));
    }
  }
}

template <int M, int P>
R1_BF16_INLINE void finish(const Bf16Matmul& x, const Block& block, __m512 (&s)[M][P]) {
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p) {
    const __mmask16 columns = first(block.n - p * 16);
    const int64_t column = block.n0 + p * 16;
    const __m512 bias = x.bias ? widen(_mm256_maskz_loadu_epi16(columns, x.bias + column)) : _mm512_setzero_ps();
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const int64_t at = (block.row + m) * x.ldc + column;
      __m512 r = x.bias ? _mm512_add_ps(s[m][p], bias) : s[m][p];
      if (x.c_type == DType::f32) {
        float* const c = static_cast<float*>(x.c) + at;
        if (x.accumulate) r = _mm512_add_ps(_mm512_maskz_loadu_ps(columns, c), r);
        _mm512_mask_storeu_ps(c, columns, r);
      } else {
        uint16_t* const c = static_cast<uint16_t*>(x.c) + at;
        if (x.accumulate) r = _mm512_add_ps(widen(_mm256_maskz_loadu_epi16(columns, c)), r);
        _mm256_mask_storeu_epi16(c, columns, (__m256i)_mm512_cvtneps_pbh(r));
      }
    }
  }
}

template <int M, int P>
R1_BF16_TARGET void micro(const Bf16Matmul& x, const Block& block) {
  __m512 s[M][P];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) s[m][p] = block.first ? _mm512_setzero_ps() : _mm512_load_ps(block.sums + (m * P + p) * 16);
  // Four rows share a base and three distances, which the compiler would else keep for every row, and spill.
  constexpr int kBases = (M + 3) / 4;
  const char* base[kBases];
#pragma GCC unroll 4
  for (int g = 0; g < kBases; ++g) base[g] = reinterpret_cast<const char*>(block.a + 4 * g * x.lda);
  int64_t step = 2 * x.lda, step3 = 3 * step;
  asm("" : "+r"(step), "+r"(step3));
  const auto pair = [&](int m) R1_BF16_TARGET {
    int32_t both;
    std::memcpy(&both, base[m / 4] + (m % 4 == 0 ? 0 : m % 4 == 1 ? step : m % 4 == 2 ? 2 * step : step3), sizeof both);
    return _mm512_set1_epi32(both);
  };
  const int64_t pairs = block.k / 2;
  const uint32_t* panel = block.panel;
  for (int64_t i = 0; i < pairs; ++i, panel += P * 16) {
    // Sixteen pairs are a cache line of each row.
    for (int64_t r = 0; r < block.ahead_lines; ++r) {
      const uint16_t* const line = block.ahead + (i % 16 + 16 * r) * block.ahead_ld + i / 16 * 32;
      _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
    }
    Pairs b[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) b[p] = _mm512_load_si512(panel + p * 16);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const Pairs am = pair(m);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) s[m][p] = dot(s[m][p], b[p], am);
    }
#pragma GCC unroll 4
    for (int g = 0; g < kBases; ++g) base[g] += sizeof(int32_t);
  }
  if (block.k % 2 != 0) {  // the second of the last pair is zero
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p)
        s[m][p] = dot(s[m][p], _mm512_load_si512(panel + p * 16), _mm512_set1_epi32(block.a[m * x.lda + block.k - 1]));
  }
  if (block.last && x.c_transposed) {
    finish_columns<0>(x, block, s);
    if constexpr (M > 8) finish_columns<8>(x, block, s);
    return;
  }
  if (block.last) return finish(x, block, s);
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) _mm512_store_ps(block.sums + (m * P + p) * 16, s[m][p]);
}

template <int P, int M = static_cast<int>(micro_limit(P))>
void micro_rows(int64_t rows, const Bf16Matmul& x, const Block& block) {
  if constexpr (M > 1) {
    if (rows < M) return micro_rows<P, M - 1>(rows, x, block);
  }
  micro<M, P>(x, block);
}

}  // namespace

void bf16_matmul(const Bf16Matmul& x) {
  uint32_t* const panel = scratch<uint32_t>(ScratchSlot::matmul, (kDepthBlock / 2 + kRowBlock) * kPanel);
  float* const sums = reinterpret_cast<float*>(panel + kDepthBlock / 2 * kPanel);
  const int64_t depth_block = waits_for_b(x) ? kDepthBlock / 2 : kDepthBlock;
  const int64_t all_parts = (x.n + 15) / 16, panels = (all_parts + kMicroParts - 1) / kMicroParts;
  // One panel that needs no sums kept is packed once for all rows.
  const int64_t row_block = panels == 1 && x.k <= depth_block ? std::max<int64_t>(x.m, 1) : kRowBlock;
  for (int64_t m0 = 0; m0 < x.m; m0 += row_block) {
    const int64_t m1 = std::min(m0 + row_block, x.m);
    for (int64_t p = 0, n0 = 0, n = 0; p < panels; ++p, n0 += n) {
      const int64_t parts = all_parts * (p + 1) / panels - all_parts * p / panels;
      n = std::min(parts * 16, x.n - n0);
      for (int64_t k0 = 0; k0 < x.k; k0 += depth_block) {
        const int64_t k = std::min(depth_block, x.k - k0);
        (x.trans_b ? pack_transposed : pack_plain)(x, n0, n, k0, k, parts, panel);
        // Calls of about equal height: one of few rows takes as long as one of several.
        const int64_t calls = (m1 - m0 + micro_limit(parts) - 1) / micro_limit(parts);
        for (int64_t call = 0, m = m0; call < calls; ++call) {
          const int64_t rows = (m1 - m) / (calls - call);
          Block block{.a = x.a + m * x.lda + k0,
                      .panel = panel,
                      .k = k,
                      .sums = sums + (m - m0) * parts * 16,
                      .first = k0 == 0,
                      .last = k0 + k == x.k,
                      .row = m,
                      .n0 = n0,
                      .n = n,
                      .ahead = nullptr,
                      .ahead_ld = x.c_transposed ? x.lda : x.ldb,
                      .ahead_lines = 0};
          m += rows;
          if (x.c_transposed && n0 == 0) {  // the rows of a come from memory: those after these
            block.ahead = block.a + rows * x.lda;
            block.ahead_lines = 1;
          } else if (!x.c_transposed && x.trans_b) {  // b does: a share of the next panel
            const auto share = [&](int64_t c) {
              return std::min<int64_t>(kMicroParts, c * kMicroParts / std::min<int64_t>(calls, kMicroParts));
            };
            const int64_t begin = share(call);
            block.ahead_lines = share(call + 1) - begin;
            block.ahead = x.b + (k0 + k < x.k ? n0 * x.ldb + k0 + k : (n0 + kPanel) * x.ldb) + 16 * begin * x.ldb;
          }
          if (parts == 3) {
            micro_rows<3>(rows, x, block);
          } else if (parts == 2) {
            micro_rows<2>(rows, x, block);
          } else {
            micro_rows<1>(rows, x, block);
          }
        }
      }
    }
  }
}

}  // namespace r1::cpu
