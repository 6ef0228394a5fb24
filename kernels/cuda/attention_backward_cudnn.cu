// AttentionPackedBackward by cuDNN (cudnn_attention.h): which models it takes, and offsets as it wants them.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cudnn_attention.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

struct Ragged {
  const int32_t* offsets;  // [sequences + 1]
  int64_t sequences, slots, list;
  int64_t row[kOperands];
  int64_t* first;  // [kOperands, list]
  int32_t* lengths;
};

__global__ void ragged_kernel(const Ragged a) {
  const int64_t i = global_index();
  if (i > a.slots) return;
  const int64_t at = a.offsets[i < a.sequences ? i : a.sequences];
  for (int j = 0; j < kOperands; ++j) a.first[j * a.list + i] = at * a.row[j];
  if (i < a.slots) a.lengths[i] = i < a.sequences ? static_cast<int32_t>(a.offsets[i + 1] - at) : 0;
}

// A plan is made for each size, and takes a second: so sizes are few. No more than a quarter is added.
int64_t rounded_up(int64_t n, int64_t least) {
  const int64_t power = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max(n, least))));
  const int64_t step = std::max<int64_t>(power / 4, 1);
  return (std::max(n, least) + step - 1) / step * step;
}

Operand operand_of(const View& v) { return {v.data, v.shape[1], v.shape[2], v.stride[0], v.stride[1], nullptr}; }

// What cuDNN 9.19 was seen to accept for sm_90 (docs/decisions.md). It is a question of a model alone: of its heads, and of how
// they lie in rows that begin at multiples of 16 bytes.
bool takes(const PackedBackward& a) {
  for (int j = 0; j < kOperands; ++j) {
    const Operand& x = a.operands[static_cast<size_t>(j)];
    if (j != kLse &&
        (x.features % 8 != 0 || x.row % 8 != 0 || x.head % 8 != 0 || reinterpret_cast<uintptr_t>(x.data) % 16 != 0))
      return false;
  }
  const int64_t d = a.operands[kQ].features, dv = a.operands[kV].features;
  return dv <= 128 && (d <= 128 || (d == 192 && dv == 128));
}

}  // namespace

AttentionBackward attention_backward() {
  static const AttentionBackward chosen = [] {
    const char* const text = std::getenv("R1_CUDA_ATTENTION_BACKWARD");
    const std::string asked = text != nullptr && *text != 0 ? text : "own";
    if (asked == "own") return AttentionBackward::own;
    if (asked != "cudnn") throw bad_input("R1_CUDA_ATTENTION_BACKWARD is '" + asked + "'", {}, "own or cudnn");
    cudnn_version();
    return AttentionBackward::cudnn;
  }();
  return chosen;
}

bool attention_packed_backward_cudnn(Context& ctx, const AttentionPackedBackward& op) {
  const int64_t slots = rounded_up(op.offsets.shape[0] - 1, 1), all_rows = rounded_up(op.q.shape[0], 128);
  const int64_t longest = op.longest > 0 ? rounded_up(op.longest, 128) : all_rows;
  PackedBackward a{{operand_of(op.q), operand_of(op.k), operand_of(op.v), operand_of(op.o), operand_of(op.d_o),
                    Operand{op.lse.data, op.q.shape[1], 1, op.q.shape[1], 1, nullptr}, operand_of(op.dq), operand_of(op.dk),
                    operand_of(op.dv)},
                   nullptr,
                   slots,
                   std::min(all_rows, slots * longest),
                   longest,
                   op.scale};
  if (op.query_offsets) return false;  // a plan of two lists of lengths was not asked for
  if (!takes(a)) {
    static std::atomic<bool> said = false;
    if (!said.exchange(true))
      std::fputs("cuDNN does not take this model's heads: the backward of its attention is r1's own\n", stderr);
    return false;
  }
  if (op.q.shape[0] == 0) return true;
  Scratch scratch(ctx);
  const int64_t list = (a.slots + 2) / 2 * 2;  // cuDNN takes every tensor to begin at a multiple of 16 bytes
  Ragged r{data<const int32_t>(op.offsets), op.offsets.shape[0] - 1, a.slots, list, {},
           scratch.longs(kOperands * list), scratch.ints(a.slots)};
  a.lengths = r.lengths;
  for (size_t j = 0; j < kOperands; ++j) {
    r.row[j] = a.operands[j].row;
    a.operands[j].first = r.first + static_cast<int64_t>(j) * list;
  }
  launch(ctx, "attention_backward_ragged", ragged_kernel, blocks_for(a.slots + 1, 128), 128, 0, r);
  cudnn_backward(ctx, a);
  return true;
}

}  // namespace r1::cuda
