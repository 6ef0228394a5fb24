// What the forms of products share: plain ones (products.cu: f32, and mixed types) and those by tensor cores (bf16:
// products_mma.cu, products_wgmma.cu). Thread rule: as ops.
#pragma once

#include "kernels/cuda/device_code.h"
#include "kernels/ops.h"

namespace r1::cuda {

// A grouped product's tile of rows when every expert's rows are cut into tiles of their own; rows = 0: beyond the last.
struct ExpertTile {
  int expert;
  int64_t first, rows;
};
template <int kRows>
__device__ inline ExpertTile expert_tile(const int32_t* offsets, int experts) {
  int64_t tile = blockIdx.y;
  for (int e = 0; e < experts; ++e) {
    const int64_t begin = offsets[e], end = offsets[e + 1], tiles = (end - begin + kRows - 1) / kRows;
    if (tile < tiles) return {e, begin + tile * kRows, end - begin - tile * kRows < kRows ? end - begin - tile * kRows : kRows};
    tile -= tiles;
  }
  return {0, 0, 0};
}
// Blocks in y that are enough for any distribution of m rows.
inline unsigned expert_tiles(int64_t m, int64_t rows, int64_t experts) { return static_cast<unsigned>(m / rows + experts); }

// Places and the rows they stand for.
struct Places {
  const int32_t* slots;  // or null
  int copies;
  __device__ int64_t row(int64_t place) const { return slots != nullptr ? slots[place] / copies : place; }
};
inline Places places_of(const View& slots, int copies) { return {data<const int32_t>(slots), copies}; }

// The products of products_mma.cu: both factors bf16. They do not touch `db` of LinearBackwardWeight.
void linear_mma(Context& ctx, const Linear& op);
void linear_backward_input_mma(Context& ctx, const LinearBackwardInput& op);
void linear_backward_weight_mma(Context& ctx, const LinearBackwardWeight& op);
void grouped_linear_mma(Context& ctx, const GroupedLinear& op);
void grouped_linear_backward_input_mma(Context& ctx, const GroupedLinearBackwardInput& op);
void grouped_linear_backward_weight_mma(Context& ctx, const GroupedLinearBackwardWeight& op);

// The same of products_wgmma.cu, where depth is not 0.
bool compiled_with_cutlass();
void linear_wgmma(Context& ctx, const Linear& op);
void linear_backward_input_wgmma(Context& ctx, const LinearBackwardInput& op);
void linear_backward_weight_wgmma(Context& ctx, const LinearBackwardWeight& op);
void grouped_linear_wgmma(Context& ctx, const GroupedLinear& op);
void grouped_linear_backward_input_wgmma(Context& ctx, const GroupedLinearBackwardInput& op);
void grouped_linear_backward_weight_wgmma(Context& ctx, const GroupedLinearBackwardWeight& op);

}  // namespace r1::cuda
