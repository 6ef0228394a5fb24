// bf16 matmul by f32 multiply-adds on AVX2 with FMA: the bits of AVX-512 (bf16_multiply_adds.cpp), in sixteen registers of
// eight.
//
// Bringing weights into register order costs as much as three rows here, for rows take twice as long: so weights never are the
// rows (Bf16Matmul::c_transposed), and of few rows a piece of the weights goes from memory straight into their sums.
#include <immintrin.h>

#define R1_PRODUCT_TARGET __attribute__((target("avx2,fma")))
#define R1_AVX2_INLINE R1_PRODUCT_TARGET inline __attribute__((always_inline))
#include "kernels/cpu/bf16_multiply_adds-inl.h"

namespace r1::cpu {
namespace {

struct Avx2 {
  static constexpr int kLanes = 8, kParts = 2;
  using F = __m256;
  using P = __m256i;
  // Twelve sums hide the latency of a multiply-add, two registers are of b, and a comes by broadcast.
  static constexpr int64_t limit(int64_t) { return 6; }

  R1_AVX2_INLINE static F zero() { return _mm256_setzero_ps(); }
  R1_AVX2_INLINE static F set(float x) { return _mm256_set1_ps(x); }
  R1_AVX2_INLINE static F load(const float* p) { return _mm256_load_ps(p); }
  R1_AVX2_INLINE static void store(float* p, F x) { _mm256_store_ps(p, x); }
  R1_AVX2_INLINE static F multiply_add(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  R1_AVX2_INLINE static F odd_of(P p) {
    return _mm256_castsi256_ps(_mm256_and_si256(p, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  R1_AVX2_INLINE static F even_of(P p) { return _mm256_castsi256_ps(_mm256_slli_epi32(p, 16)); }
  // The first n bf16, as pairs; the first n columns as f32. What is beyond them is zero and not read.
  R1_AVX2_INLINE static P pairs(const uint16_t* p, int64_t n) {
    if (n >= 2 * kLanes) return _mm256_loadu_si256(reinterpret_cast<const P*>(p));
    alignas(32) uint16_t edge[2 * kLanes] = {};
    std::memcpy(edge, p, static_cast<size_t>(n) * sizeof(uint16_t));
    return _mm256_load_si256(reinterpret_cast<const P*>(edge));
  }
  R1_AVX2_INLINE static F widened(const uint16_t* p, int64_t n) {
    alignas(16) uint16_t edge[kLanes] = {};
    if (n < kLanes) p = static_cast<uint16_t*>(std::memcpy(edge, p, static_cast<size_t>(n) * sizeof(uint16_t)));
    const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
  }
  // Eight rows of eight pairs, `ld` bf16 apart, as columns: put(pair, the eight rows').
  template <class Put>
  R1_AVX2_INLINE static void transpose(const uint16_t* in, int64_t ld, Put&& put) {
    for (int64_t pair = 0; pair < 8; pair += 4) {
      const auto piece = [&](int64_t row) R1_PRODUCT_TARGET {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + row * ld + 2 * pair));
      };
      P v[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) v[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(piece(i)), piece(i + 4), 1);
      const P low0 = _mm256_unpacklo_epi32(v[0], v[1]), high0 = _mm256_unpackhi_epi32(v[0], v[1]);
      const P low1 = _mm256_unpacklo_epi32(v[2], v[3]), high1 = _mm256_unpackhi_epi32(v[2], v[3]);
      put(pair, _mm256_unpacklo_epi64(low0, low1));
      put(pair + 1, _mm256_unpackhi_epi64(low0, low1));
      put(pair + 2, _mm256_unpacklo_epi64(high0, high1));
      put(pair + 3, _mm256_unpackhi_epi64(high0, high1));
    }
  }
  static void finish(const Bf16Matmul& x, const Place& place, int64_t rows, int64_t parts, const float* sums);
};

// The first n of eight.
R1_AVX2_INLINE __m256i first(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// To nearest even, in the lower halves. What is no number has a lower half of zeros here, as bf16 numbers have, and stays.
R1_AVX2_INLINE __m256i round_bf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
}
// Denormal numbers to zero: sums of NoDenormals are none, but what is added to them may make one.
R1_AVX2_INLINE __m256 without_denormals(__m256 x) {
  const __m256 exponent = _mm256_castsi256_ps(_mm256_set1_epi32(0x7f800000)), sign = _mm256_set1_ps(-0.0f);
  const __m256i tiny = _mm256_cmpeq_epi32(_mm256_castps_si256(_mm256_and_ps(x, exponent)), _mm256_setzero_si256());
  return _mm256_blendv_ps(x, _mm256_and_ps(x, sign), _mm256_castsi256_ps(tiny));
}

R1_PRODUCT_TARGET void Avx2::finish(const Bf16Matmul& x, const Place& place, int64_t rows, int64_t parts, const float* sums) {
  if (x.c_type == DType::bf16 && !x.bias && !x.accumulate && place.n == 2 * kLanes) {
    uint16_t* c = static_cast<uint16_t*>(x.c) + place.row * x.ldc + place.n0;
    for (int64_t m = 0; m < rows; ++m, c += x.ldc, sums += 2 * kLanes) {
      const __m256i both = _mm256_packus_epi32(round_bf16(load(sums)), round_bf16(load(sums + kLanes)));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(c), _mm256_permute4x64_epi64(both, 0xd8));
    }
    return;
  }
  for (int64_t p = 0; p < parts; ++p) {
    const int64_t column = place.n0 + p * kLanes, n = std::min<int64_t>(place.n - p * kLanes, kLanes);
    const F bias = x.bias ? widened(x.bias + column, n) : zero();
    for (int64_t m = 0; m < rows; ++m) {
      const F sum = load(sums + (m * parts + p) * kLanes);
      F r = x.bias ? _mm256_add_ps(sum, bias) : sum;
      const int64_t at = (place.row + m) * x.ldc + column;
      if (x.c_type == DType::f32) {
        float* const c = static_cast<float*>(x.c) + at;
        if (x.accumulate) r = _mm256_add_ps(_mm256_maskload_ps(c, first(n)), r);
        n == kLanes ? _mm256_storeu_ps(c, r) : _mm256_maskstore_ps(c, first(n), r);
      } else {
        uint16_t* const c = static_cast<uint16_t*>(x.c) + at;
        if (x.accumulate) r = _mm256_add_ps(widened(c, n), r);
        const __m256i halves = round_bf16(without_denormals(r));
        const __m128i rounded = _mm_packus_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
        if (n == kLanes)
          _mm_storeu_si128(reinterpret_cast<__m128i*>(c), rounded);
        else
          std::memcpy(c, &rounded, static_cast<size_t>(n) * sizeof(uint16_t));
      }
    }
  }
}

// Up to so many rows memory takes the time: two registers of weights at a time, a cache line of each, meet all rows while the
// lines after the next are on their way.
constexpr int64_t kFewRows = 6, kPiece = 32, kAhead = 4 * kPiece;
R1_PRODUCT_TARGET void multiply_adds_of_few(const Bf16Matmul& x) {
  constexpr int64_t kLanes = Avx2::kLanes, kPanel = Avx2::kParts * kLanes;
  const int64_t blocks = (x.k + kDepth - 1) / kDepth, block = x.m * kWideRow;
  float* const panel = scratch<float>(ScratchSlot::matmul, (kPiece + kFewRows) * kPanel + blocks * block);
  float* const sums = panel + kPiece * kPanel;
  float* const wide = sums + kFewRows * kPanel;
  for (int64_t i = 0; i < blocks; ++i)
    widen_rows<Avx2>(x.a + i * kDepth, x.lda, x.m, std::min(kDepth, x.k - i * kDepth), wide + i * block);
  for (int64_t n0 = 0; n0 < x.n; n0 += kPanel) {
    const int64_t n = std::min(kPanel, x.n - n0), parts = (n + kLanes - 1) / kLanes;
    const uint16_t* const b = x.b + n0 * x.ldb;
    {
      const NoDenormals as_the_instruction;
      for (int64_t k0 = 0; k0 < x.k; k0 += kPiece) {
        const int64_t then = k0 + kAhead;
        const uint16_t* const ahead = then < x.k ? b + then : b + kPanel * x.ldb + then - x.k;
        for (int64_t c = 0; c < kPanel; ++c) _mm_prefetch(reinterpret_cast<const char*>(ahead + c * x.ldb), _MM_HINT_T0);
        const int64_t k = std::min(kPiece, x.k - k0);
        pack<Avx2>(x, n0, n, k0, k, parts, panel);
        const Step step{wide + k0 / kDepth * block + k0 % kDepth / 2, panel, (k + 1) / 2, k0 == 0, sums, {}};
        with_shape<Avx2>(x.m, parts, [&]<int M, int P>() { go_on<Avx2, M, P>(step); });
      }
    }
    Avx2::finish(x, {0, n0, n}, x.m, parts, sums);
  }
}

}  // namespace

void bf16_matmul_on_avx2(const Bf16Matmul& x) {
  const bool few = x.trans_b && x.m <= kFewRows && x.k > 0;
  few ? multiply_adds_of_few(x) : multiply_adds<Avx2>(x);
}

}  // namespace r1::cpu
