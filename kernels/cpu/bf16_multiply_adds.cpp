// bf16 matmul by f32 multiply-adds on AVX-512: the bits of vdpbf16ps where that is two of them, the odd element of a pair
// first. CPUs whose bf16 instruction is a makeshift, as they have AMX (which a virtual machine may hide), are twice as fast
// this way.
#include "kernels/cpu/bf16_matmul-inl.h"
#define R1_PRODUCT_TARGET R1_BF16_TARGET
#include "kernels/cpu/bf16_multiply_adds-inl.h"
#include "kernels/cpu/isa.h"

namespace r1::cpu {
namespace {

struct Avx512 {
  static constexpr int kLanes = 16, kParts = kMicroParts;
  using F = __m512;
  using P = Pairs;
  static constexpr int64_t limit(int64_t parts) { return micro_limit(parts); }

  R1_BF16_INLINE static F zero() { return _mm512_setzero_ps(); }
  R1_BF16_INLINE static F set(float x) { return _mm512_set1_ps(x); }
  R1_BF16_INLINE static F load(const float* p) { return _mm512_load_ps(p); }
  R1_BF16_INLINE static void store(float* p, F x) { _mm512_store_ps(p, x); }
  R1_BF16_INLINE static F multiply_add(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  R1_BF16_INLINE static F odd_of(P p) { return cpu::odd_of(p); }
  R1_BF16_INLINE static F even_of(P p) { return cpu::even_of(p); }
  // The first n bf16, as pairs; the first n columns as f32.
  R1_BF16_INLINE static P pairs(const uint16_t* p, int64_t n) {
    return _mm512_maskz_loadu_epi16(n >= 32 ? ~__mmask32{0} : static_cast<__mmask32>((1u << n) - 1), p);
  }
  R1_BF16_INLINE static F widened(const uint16_t* p, int64_t n) { return widen(_mm256_maskz_loadu_epi16(first(n), p)); }
  template <class Put>
  R1_BF16_INLINE static void transpose(const uint16_t* in, int64_t ld, Put&& put) {
    cpu::transpose(in, ld, put);
  }
  static void finish(const Bf16Matmul& x, const Place& place, int64_t rows, int64_t parts, const float* sums);
};

// The sums of so many rows and parts, in their place. One register, or eight, at a time: small code, as 36 shapes would be
// large.
R1_BF16_TARGET void Avx512::finish(const Bf16Matmul& x, const Place& place, int64_t rows, int64_t parts, const float* sums) {
  const bool by_instruction = has_bf16_pairs(isa());
  constexpr int64_t kTogether = 8;
  for (int64_t p = 0; p < parts; ++p) {
    const float* const part = sums + p * 16;
    const auto at = [&](int64_t m) { return Place{place.row + m, place.n0 + p * 16, place.n - p * 16}; };
    if (!x.c_transposed) {
      for (int64_t m = 0; m < rows; ++m) {
        __m512 s[1][1] = {{_mm512_load_ps(part + m * parts * 16)}};
        finish_rows(x, at(m), by_instruction, s);
      }
      continue;
    }
    for (int64_t m = 0; m < rows; m += kTogether) {
      __m512 s[kTogether][1];
      for (int64_t i = 0; i < kTogether; ++i)
        s[i][0] = m + i < rows ? _mm512_load_ps(part + (m + i) * parts * 16) : _mm512_setzero_ps();
      finish_columns<0>(x, at(m), rows - m, by_instruction, s);
    }
  }
}

}  // namespace

void bf16_matmul_by_multiply_adds(const Bf16Matmul& x) { multiply_adds<Avx512>(x); }

}  // namespace r1::cpu
