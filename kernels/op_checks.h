// The contract of each op in kernels/ops.h as CHECKs on shapes, types, strides, devices and aliases. run() calls them; they
// read no tensor data and allocate nothing unless they fail. Thread rule: pure functions.
#pragma once

#include "kernels/ops.h"

namespace r1 {

#define R1_DECLARE_CHECK(Struct, field) void check_op(const Context&, const Struct&);
R1_OPS(R1_DECLARE_CHECK)
#undef R1_DECLARE_CHECK

}  // namespace r1
