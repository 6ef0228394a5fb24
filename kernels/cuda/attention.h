// What the forms of attention share: plain ones (attention.cu, attention_backward.cu: f32, and heads too large for the others)
// and those by tensor cores (attention_mma.cu, attention_backward_mma.cu: bf16). Thread rule: as ops.
#pragma once

#include "kernels/cuda/device_code.h"
#include "kernels/ops.h"

namespace r1::cuda {

// Pages of a layer and who owns them (kernels/ops.h, KvWrite).
template <class E>
struct Pages {
  E *k, *v;
  const int32_t *table, *row_seq, *row_pos;
  int64_t width, heads, d, dv;
  // Of the sequence of a row.
  __device__ const int32_t* pages_of(int64_t row) const { return table + row_seq[row] * width; }
  __device__ int64_t page(int64_t row, int64_t position) const { return pages_of(row)[position / kKeyBlock]; }
  __device__ E* key(int64_t page, int64_t head) const { return k + (page * heads + head) * d * kKeyBlock; }
  __device__ E* value(int64_t page, int64_t head) const { return v + (page * heads + head) * kKeyBlock * dv; }
};
template <class E, class Op>
Pages<E> pages_of(const Op& op) {
  return {data<E>(op.k_pages),
          data<E>(op.v_pages),
          data<const int32_t>(op.page_table),
          data<const int32_t>(op.row_seq),
          data<const int32_t>(op.row_pos),
          op.page_table.shape[1],
          op.k_pages.shape[1],
          op.k_pages.shape[2],
          op.v_pages.shape[3]};
}

// The largest i of [0, n) with begin(i) <= x; begin(0) <= x, and it does not fall.
template <class Begin>
__device__ inline int64_t last_begun(int64_t n, int64_t x, Begin begin) {
  int64_t low = 0, high = n;  // those below `low` begin at or before x
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (begin(middle) <= x)
      low = middle + 1;
    else
      high = middle;
  }
  return low - 1;
}
// The sequence of row t.
__device__ inline int64_t sequence_of(const int32_t* offsets, int64_t sequences, int64_t t) {
  return last_begun(sequences, t, [&](int64_t s) { return offsets[s]; });
}

// Packed sequences in tiles of kTileRows rows, each cut from its own beginning. A tile's rows are [first, first + kTileRows) of
// a sequence of `length` rows that begins at row `begin`; first >= length: there is no such tile.
inline constexpr int kTileRows = 64;
struct SequenceTile {
  int64_t begin, length, first;
};
__device__ inline SequenceTile sequence_tile(const int32_t* offsets, int64_t sequences, int64_t tile) {
  // Sequence s has the tiles from offsets[s] / kTileRows + s on: at least as many as it needs.
  const auto first_tile = [&](int64_t s) { return offsets[s] / kTileRows + s; };
  const int64_t s = last_begun(sequences, tile, first_tile);
  return {offsets[s], offsets[s + 1] - offsets[s], (tile - first_tile(s)) * kTileRows};
}
// Enough tiles for any lengths of so many sequences of t rows together.
inline unsigned sequence_tiles(int64_t t, int64_t sequences) { return static_cast<unsigned>(t / kTileRows + sequences); }

// bf16 by tensor cores. False: the heads are larger than what is compiled, and nothing was done.
bool attention_packed_mma(Context& ctx, const AttentionPacked& op);
bool attention_paged_mma(Context& ctx, const AttentionPaged& op);
bool attention_packed_backward_mma(Context& ctx, const AttentionPackedBackward& op);
// bf16 by cuDNN. False: it does not take such a model, and nothing was done.
bool attention_packed_backward_cudnn(Context& ctx, const AttentionPackedBackward& op);

}  // namespace r1::cuda
