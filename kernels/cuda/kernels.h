// The CUDA kernels, a function an op: each queues its kernels on the calling thread's stream and returns.
// Thread rule: as ops.
#pragma once

#include "kernels/ops.h"

namespace r1::cuda {

#define R1_DECLARE_KERNEL(Struct, field) void field(Context&, const Struct&);
R1_OPS(R1_DECLARE_KERNEL)
#undef R1_DECLARE_KERNEL

const OpTable& op_table();

// Whether bf16 products and attention go to tensor cores: always, but that R1_CUDA_PRODUCTS=plain says otherwise (to compare on a card; it is
// part of the fingerprint). Anything else there ends in bad_input.
bool use_tensor_cores();

}  // namespace r1::cuda
