// The reference kernels: plain loops in f64, written to be obviously right: what every other kernel is measured against. They
// also check what run() cannot: indices inside tensors (ids, targets, pages). Slow on purpose; one thread.
// Thread rule: as ops.
#pragma once

#include "kernels/ops.h"

namespace r1 {

const OpTable& reference_op_table();

namespace reference {
#define R1_DECLARE_KERNEL(Struct, field) void field(Context&, const Struct&);
R1_OPS(R1_DECLARE_KERNEL)
#undef R1_DECLARE_KERNEL
}  // namespace reference

}  // namespace r1
