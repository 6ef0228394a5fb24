// oneDNN's matmul, one thread, behind a cache of primitives. Knows matrices, not layers.
//
// Creating a primitive costs 0.2 to 2 ms, finding one here 20 ns. Primitives are shared by all threads; what a call binds
// (addresses, scratch) belongs to the calling thread. Thread rule: any thread; each call computes on the calling thread only.
#pragma once

#include <cstdint>

#include "kernels/tensor.h"

namespace r1::cpu {

// c[m,n] (+)= sum_k a[m,k] b[k,n] + bias[n].  a and b have type `in`, c has type `out`; sums in f32. Leading dimensions count
// elements; trans_a: a is stored [k,m]; trans_b: b is stored [n,k].
struct MatmulShape {
  int32_t m = 0, n = 0, k = 0;
  int32_t lda = 0, ldb = 0, ldc = 0;
  DType in = DType::f32, out = DType::f32;
  bool trans_a = false, trans_b = false, accumulate = false, bias = false;
  bool operator==(const MatmulShape&) const = default;
};
void matmul(const MatmulShape& shape, const void* a, const void* b, const void* bias, void* c);

// c = alpha op(a) op(b) + beta c in f32.
void sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
           const float* b, int64_t ldb, float beta, float* c, int64_t ldc);

// Whether bf16 products are fast on this machine: our own, or oneDNN's on AMX. Elsewhere they are computed as f32.
bool has_bf16_matmul();
// The longest sum over k for which bf16 results of this oneDNN do not depend on m or strides (found by brute force:
// docs/decisions.md): 512 with AMX, 256 with AVX512_BF16 alone.
int64_t bf16_depth_slice();
std::string matmul_library();  // "oneDNN 2.6.3 avx512_core_amx"

}  // namespace r1::cpu
