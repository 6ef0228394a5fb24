// The CPU's kernels: oneDNN for matmul, Highway for the rest, oneTBB for threads. The device around them is
// kernels/host_device.h. Thread rule: pure functions.
#pragma once

#include <string>

#include "kernels/host_device.h"

namespace r1 {

const OpTable& cpu_op_table();
// fast_bf16: with AVX2 and more.
HostTraits cpu_traits();
// "cpu AVX3, Highway 1.0.3, oneDNN 2.6.3 avx512_core_amx, bf16 hardware"
std::string cpu_fingerprint();
// "avx512_bf16": what the kernels use (kernels/cpu/isa.h). Throws r1::Error (bad input) for what R1_ISA cannot be.
std::string cpu_instruction_set();

}  // namespace r1
