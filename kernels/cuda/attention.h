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

// Packed sequences of `length` rows of keys from row `begin` on, whose queries stand at positions [skipped, length): that of
// position p is row query + p.
struct PackedSequence {
  int64_t begin, length, skipped, query;
};
struct PackedSequences {
  const int32_t *keys, *queries;  // [count + 1] each
  int64_t count;
  __device__ PackedSequence operator[](int64_t s) const {
    const int64_t length = keys[s + 1] - keys[s], skipped = length - (queries[s + 1] - queries[s]);
    return {keys[s], length, skipped, queries[s] - skipped};
  }
};
template <class Op>
PackedSequences sequences_of(const Op& op) {
  const View& queries = op.query_offsets ? op.query_offsets : op.offsets;
  return {data<const int32_t>(op.offsets), data<const int32_t>(queries), op.offsets.shape[0] - 1};
}

// A sequence in tiles of kTileRows rows, cut from its own beginning: a tile's rows are [first, first + kTileRows);
// first >= length: there is no such tile.
inline constexpr int kTileRows = 64;
struct SequenceTile : PackedSequence {
  int64_t first;
};
// Those of keys. Sequence s has the tiles from its first row / kTileRows + s on: at least as many as it needs.
__device__ inline SequenceTile key_tile(const PackedSequences& all, int64_t tile) {
  const auto first_tile = [&](int64_t s) { return all.keys[s] / kTileRows + s; };
  const int64_t s = last_begun(all.count, tile, first_tile);
  return {all[s], (tile - first_tile(s)) * kTileRows};
}
// Those that have queries, which may begin within a tile: one more.
__device__ inline SequenceTile query_tile(const PackedSequences& all, int64_t tile) {
  const auto first_tile = [&](int64_t s) { return all.queries[s] / kTileRows + 2 * s; };
  const int64_t s = last_begun(all.count, tile, first_tile);
  const PackedSequence x = all[s];
  return {x, (x.skipped / kTileRows + tile - first_tile(s)) * kTileRows};
}
// Enough tiles for any lengths of so many sequences of t rows together; of queries.
inline unsigned key_tiles(int64_t t, int64_t sequences) { return static_cast<unsigned>(t / kTileRows + sequences); }
inline unsigned query_tiles(int64_t n, int64_t sequences) { return static_cast<unsigned>(n / kTileRows + 2 * sequences); }

// bf16 by tensor cores. False: the heads are larger than what is compiled, and nothing was done.
bool attention_packed_mma(Context& ctx, const AttentionPacked& op);
bool attention_paged_mma(Context& ctx, const AttentionPaged& op);
bool attention_packed_backward_mma(Context& ctx, const AttentionPackedBackward& op);
// bf16 by cuDNN. False: it does not take such a model, and nothing was done.
bool attention_packed_backward_cudnn(Context& ctx, const AttentionPackedBackward& op);

}  // namespace r1::cuda
