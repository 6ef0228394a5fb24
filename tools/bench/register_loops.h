// What the multipliers of this machine do when nothing is loaded or stored: loops over registers, on all cores at once.
//
// The ceiling of the hardware, beside which that of the best library stands (ceilings.h). By the instruction set that the
// kernels use (kernels/cpu/isa.h). Thread rule: one thread at a time.
#pragma once

#include "kernels/tensor.h"

namespace r1::bench {

// FLOP/s of `threads` threads; of bf16 where there is no product of bf16, that of f32. 0 where the instruction set is scalar.
double register_flops(DType type, int threads);

}  // namespace r1::bench
