// Attention's backward by cuDNN, as a function: what attention_backward_cudnn.cu asks of the library, which is opened at run
// time and only where R1_CUDA_ATTENTION_BACKWARD asks for it (cudnn/attention.cpp, where its front end was there at build
// time), and of a plain stand-in under the emulator (emulator/cudnn_stand_in.cpp).
//
// Packed sequences are what cuDNN calls ragged: an operand is [slots, heads, longest, features], sequence s begins at element
// first[s] and has lengths[s] rows. Thread rule: as ops.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/device.h"

namespace r1::cuda {

// In the order of PackedBackward::operands; lse is of f32, natural logarithm, one feature. All others are of bf16.
enum Operands { kQ, kK, kV, kO, kDo, kLse, kDq, kDk, kDv, kOperands };

// On the device. All pointers are aligned to 16 bytes, and so are rows and heads, but for lse's.
struct Operand {
  std::byte* data;
  int64_t heads, features;
  int64_t row, head;     // elements from a token's row to the next, from a head to the next
  const int64_t* first;  // [slots + 1]
};
struct PackedBackward {
  std::array<Operand, kOperands> operands;
  const int32_t* lengths;        // [slots], 0 of slots without a sequence
  int64_t slots, rows, longest;  // all sequences together have no more rows, none is longer
  float scale;
};

// "9.19.0". Throws bad_input where there is no library, an unfit one, or none was compiled in.
const std::string& cudnn_version();
// Queues dq, dk, dv of causal attention, the same bits each time. Takes its workspace from the arena. Throws failure.
void cudnn_backward(Context& ctx, const PackedBackward& a);

}  // namespace r1::cuda
