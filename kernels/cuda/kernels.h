// The CUDA kernels, a function an op: each queues its kernels on the calling thread's stream and returns.
// Thread rule: as ops.
#pragma once

#include "kernels/ops.h"

namespace r1::cuda {

#define R1_DECLARE_KERNEL(Struct, field) void field(Context&, const Struct&);
R1_OPS(R1_DECLARE_KERNEL)
#undef R1_DECLARE_KERNEL

const OpTable& op_table();

}  // namespace r1::cuda
