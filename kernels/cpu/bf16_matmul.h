// bf16 matmul of our own, for CPUs with AVX2 or AVX-512 and without AMX: the same bits for any number of rows, and fast for
// few.
//
// An element is one chain of vdpbf16ps over pairs of k in order, so its bits depend on its row of a and its column of b alone:
// no slices of k, no padding of rows, no narrowest output. Weights are brought into register order panel by panel on the way
// from memory, which costs less than waiting for them; so nothing is kept packed between calls. The same chain is computed
// by f32 multiply-adds where the CPU has no such instruction, or where its own clock says, once a process, that they are
// faster. Thread rule: pure functions on the calling thread.
#pragma once

#include <cstdint>

#include "kernels/tensor.h"

namespace r1::cpu {

// c[m,n] (+)= sum_k a[m,k] b[k,n] + bias[n];  b is stored [k,n], or [n,k] if trans_b. Leading dimensions count elements.
// c_transposed: c is stored [n,m], bias is [m], nothing is accumulated. With a as the weights and b as the rows this is a
// linear layer of few rows: weights are read as they lie, rows are packed. The bits are those of the plain form. Sums in f32,
// rounded once. Source of the instruction: Intel SDM, VDPBF16PS (denormal numbers are zero).
struct Bf16Matmul {
  const uint16_t* a;
  int64_t lda;
  const uint16_t* b;
  int64_t ldb;
  bool trans_b;
  const uint16_t* bias;  // [n] or null
  void* c;
  DType c_type;  // f32 or bf16
  int64_t ldc;
  int64_t m, n, k;
  bool accumulate;
  bool c_transposed = false;
};
void bf16_matmul(const Bf16Matmul&);

// The two ways to compute it, with the same bits where chain_is_two_multiply_adds().
void bf16_matmul_by_pairs(const Bf16Matmul&);
void bf16_matmul_by_multiply_adds(const Bf16Matmul&);
// Whether vdpbf16ps is, on this CPU, the multiply-add of the odd elements and then that of the even ones, bit by bit.
bool chain_is_two_multiply_adds();
// The same bits on AVX2. Not c_transposed.
void bf16_matmul_on_avx2(const Bf16Matmul&);

// dw[n,k] += sum_t dy[t,n] x[t,k] in order of t. Leading dimensions count elements.
struct Bf16WeightProduct {
  const uint16_t* dy;
  int64_t ld_dy;
  const uint16_t* x;
  int64_t ld_x;
  float* dw;
  int64_t ld_dw;
  int64_t n, k, t;
};
// A chain as above for every 256 of t, from zero, added to dw: the bits of oneDNN 2.6.3 in the same parts.
void bf16_weight_product(const Bf16WeightProduct&);

}  // namespace r1::cpu
