// The CPU's kernels, one function an op. Arguments were checked by run() (kernels/ops.h). Not for use outside kernels/cpu/.
// Thread rule: as ops: one Context belongs to one thread.
#pragma once

#include <span>

#include "kernels/ops.h"

namespace r1::cpu {

#define R1_DECLARE_KERNEL(Struct, field) void field(Context&, const Struct&);
R1_OPS(R1_DECLARE_KERNEL)
#undef R1_DECLARE_KERNEL

// Several layers, all their tiles on one grid; each gets the bits that it gets alone. All views (but dw, db) have one type.
void linear(Context&, std::span<const Linear>);
void linear_backward_input(Context&, std::span<const LinearBackwardInput>);
void linear_backward_weight(Context&, std::span<const LinearBackwardWeight>);

// db[n] += sum_t dy[t,n], in order of t.  dy: [T,N] f32 or bf16, rows may be strided; db: [N] f32.
void add_column_sums(Context&, const View& dy, const View& db);
// The same T as f32 or bf16: rows x cols elements, rows `ld` apart.
void convert_rows(const void* src, DType src_type, int64_t src_ld, void* dst, DType dst_type, int64_t dst_ld, int64_t rows,
                  int64_t cols);

// c[m,n] (+)= sum_k a[m,k] b[k,n] + bias[n], f32; b is [n,k] if trans_b. Each sum is one chain of fused multiply-adds over k in
// order: an element's bits depend on its row of a and its column of b alone. bias: [n] or null. On the calling thread.
struct F32Matmul {
  const float* a;
  int64_t lda;
  const float* b;
  int64_t ldb;
  bool trans_b;
  const float* bias;
  float* c;
  int64_t ldc;
  int64_t m, n, k;
  bool accumulate;
};
void f32_matmul(const F32Matmul& args);

// out[m,n] (+)= sums[m,n] + bias[n]: the end of a matmul whose sums were kept in f32. bias: [n] bf16 or null; out: bf16 or f32.
void finish_sums(const float* sums, int64_t ld, const uint16_t* bias, void* out, DType out_type, int64_t out_ld, int64_t m,
                 int64_t n, bool accumulate);

const char* simd_target();  // the instruction set that our Highway kernels run on here: "AVX3", "AVX2", "SCALAR"

}  // namespace r1::cpu
