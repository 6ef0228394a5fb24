// CUDA's runtime, or the emulated one in builds without CUDA (R1_CUDA_EMULATED): the only place that chooses.
#pragma once

#ifdef R1_CUDA_EMULATED
#include "kernels/cuda/emulator/runtime.h"
#else
#include <cuda_runtime.h>
#endif

namespace r1::cuda {

#ifdef R1_CUDA_EMULATED
inline constexpr bool kEmulated = true;
#else
inline constexpr bool kEmulated = false;
#endif

// Throws r1::Error (failure) that says what was done and what the driver says of it. `hint` may be empty.
void check(cudaError_t e, const char* what, const char* hint = "");

}  // namespace r1::cuda
