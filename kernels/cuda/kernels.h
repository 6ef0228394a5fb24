// The CUDA kernels, a function an op: each queues its kernels on the calling thread's stream and returns.
// Thread rule: as ops.
#pragma once

#include "kernels/ops.h"

namespace r1::cuda {

#define R1_DECLARE_KERNEL(Struct, field) void field(Context&, const Struct&);
R1_OPS(R1_DECLARE_KERNEL)
#undef R1_DECLARE_KERNEL

const OpTable& op_table();

// Where bf16 products and attention go: plain kernels, tensor cores by mma.sync, or products to CUTLASS's wgmma and attention
// to mma.sync. It is a process's choice, R1_CUDA_PRODUCTS (default: mma), and a part of the fingerprint. Throws bad_input for
// what is none of them, or is not compiled in.
enum class Products { plain, mma, cutlass };
Products products();
const char* name_of(Products products);
bool use_tensor_cores();  // not plain

// Who computes attention's backward in bf16: R1_CUDA_ATTENTION_BACKWARD (default: own), for those models that cuDNN takes
// (attention_backward_cudnn.cu). As products().
enum class AttentionBackward { own, cudnn };
AttentionBackward attention_backward();

}  // namespace r1::cuda
