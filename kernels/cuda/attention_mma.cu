// AttentionPacked and AttentionPaged in bf16 by tensor cores (attention_mma.h says what makes their bits equal).
#include "kernels/cuda/attention_mma.h"

namespace r1::cuda {
namespace {

struct Packed {
  Heads<const bf16> q, k, v;
  Heads<bf16> o;
  float* lse;  // [Q, Hq] or null
  PackedSequences sequences;
  int64_t heads, group, d, dv;
  float scale;  // with log2(e) in it
  bool vectors;
};

// A block a tile of one sequence and a query head.
template <class S>
__global__ void __launch_bounds__(kTileThreads) packed_kernel(const Packed a) {
  const SequenceTile tile = query_tile(a.sequences, gridDim.x - 1 - blockIdx.x);  // long ones first
  if (tile.first >= tile.length) return;
  const int64_t h = blockIdx.y, kv = h / a.group, warp_row = threadIdx.x / 32 * 16, g = threadIdx.x % 32 / 4;
  const int64_t position[2] = {tile.first + warp_row + g, tile.first + warp_row + g + 8};
  const auto asks = [&](int i) { return tile.skipped <= position[i] && position[i] < tile.length; };
  const bf16* q[2];
  R1_UNROLL for (int i = 0; i < 2; ++i) q[i] = asks(i) ? a.q.at(tile.query + position[i], h) : nullptr;
  AttentionRows<S> r;
  r.load(q, a.d);
  Softmax all[2];
  const int64_t keys = tile.first + kTileRows < tile.length ? tile.first + kTileRows : tile.length;
  attend<S, false>(r, all, position, tile.first + warp_row < tile.length, 0, (keys + kTileKeys - 1) / kTileKeys, a.scale,
                   [&](int64_t step, bf16* k, bf16* v) {
                     const int64_t first = step * kTileKeys;
                     const auto rows_of = [&](const Heads<const bf16>& x) {
                       return [=](int j) { return first + j < keys ? x.at(tile.begin + first + j, kv) : nullptr; };
                     };
                     load_rows<kTileKeys, S::kD, kTileThreads>(k, a.d, a.vectors, rows_of(a.k));
                     load_rows<kTileKeys, S::kDv, kTileThreads>(v, a.dv, a.vectors, rows_of(a.v));
                   });
  R1_UNROLL for (int i = 0; i < 2; ++i) {
    if (!asks(i)) continue;
    const int64_t t = tile.query + position[i];
    bf16* const o = a.o.at(t, h);
    const float inverse = 1.0f / all[i].sum;
    each_value(r, i, [&](int at, float x) {
      if (at < a.dv) o[at] = narrow<bf16>(x * inverse);
    });
    if (a.lse != nullptr && threadIdx.x % 4 == 0) a.lse[t * a.heads + h] = log_sum_exp(all[i]);
  }
}

struct Paged {
  Heads<const bf16> q;
  Heads<bf16> o;
  Pages<const bf16> pages;
  int64_t rows, heads, group;
  float scale;  // with log2(e) in it
  bool vectors;
  float* chunks;  // null: a block takes all chunks of a row; else one each, [R, Hq, chunks of the table][2 + Dv]: max, sum, o
  int64_t chunk_count;
  __device__ int64_t last_step(int64_t row) const { return pages.row_pos[row] / kTileKeys; }
  __device__ bool same_step(int64_t x, int64_t y) const {
    return pages.row_seq[x] == pages.row_seq[y] && last_step(x) == last_step(y);
  }
  __device__ float* chunk(int64_t row, int64_t h, int64_t c) const {
    return chunks + ((row * heads + h) * chunk_count + c) * (2 + pages.dv);
  }
};

// How many rows before (by = -1) or after (1) a row follow it without a gap and end in its step.
__device__ int64_t neighbours(const Paged& a, int64_t row, int by) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int64_t n = 0;; n += 32) {
    const int64_t other = row + by * (n + lane + 1);
    const unsigned others = ~__ballot_sync(~0u, other >= 0 && other < a.rows && a.same_step(other, row));
    if (others != 0) return n + __popc((others & (0u - others)) - 1);
  }
}

// Rows that follow each other and end in the same step share their keys, and so do the query heads of a group: a tile is a few
// such rows times the group. A block a row and key head; of the rows of a tile the first one's does the work. With a.chunks
// also a block a chunk.
template <class S>
__global__ void __launch_bounds__(kTileThreads) paged_kernel(const Paged a) {
  const int64_t row = blockIdx.x, kv = blockIdx.y, most = a.group < kTileRows ? kTileRows / a.group : 1;
  const int64_t end = a.last_step(row) + 1, chunk = blockIdx.z;
  const int64_t begin = chunk * kChunkSteps, part_end = begin + kChunkSteps < end ? begin + kChunkSteps : end;
  if (begin >= end || neighbours(a, row, -1) % most != 0) return;
  const int64_t after = neighbours(a, row, 1) + 1, rows = after < most ? after : most, tile_rows = rows * a.group;
  const int32_t* const pages = a.pages.pages_of(row);
  int64_t keys = 0;
  for (int64_t i = 0; i < rows; ++i) keys = a.pages.row_pos[row + i] + 1 > keys ? a.pages.row_pos[row + i] + 1 : keys;

  const int64_t own = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
  for (int64_t m0 = 0; m0 < tile_rows; m0 += kTileRows) {
    // Row i of this lane is query head h(i) of row x(i), if any.
    const auto there = [&](int i) { return m0 + own + 8 * i < tile_rows; };
    const auto x = [&](int i) { return row + (m0 + own + 8 * i) / a.group; };
    const auto h = [&](int i) { return kv * a.group + (m0 + own + 8 * i) % a.group; };
    const bf16* q[2];
    int64_t position[2];
    R1_UNROLL for (int i = 0; i < 2; ++i) {
      position[i] = there(i) ? a.pages.row_pos[x(i)] : 0;
      q[i] = there(i) ? a.q.at(x(i), h(i)) : nullptr;
    }
    AttentionRows<S> r;
    r.load(q, a.pages.d);
    Softmax all[2];
    attend<S, true>(r, all, position, m0 + threadIdx.x / 32 * 16 < tile_rows, a.chunks != nullptr ? begin : 0,
                    a.chunks != nullptr ? part_end : end, a.scale, [&](int64_t step, bf16* k, bf16* v) {
                      constexpr int kParts = kKeyBlock / 8, kStepPages = kTileKeys / kKeyBlock;
                      const int64_t first = step * kTileKeys;
                      const auto page_of = [&](int p) { return pages[first / kKeyBlock + p]; };
                      for (int at = static_cast<int>(threadIdx.x); at < kStepPages * S::kD * kParts; at += kTileThreads) {
                        const int p = at / (S::kD * kParts), i = at / kParts % S::kD, c = at % kParts * 8;
                        bf16* const to = k + i * (kTileKeys + kPad) + p * kKeyBlock + c;
                        const bool there = i < a.pages.d && first + p * kKeyBlock < keys;
                        const bf16* const from = there ? a.pages.key(page_of(p), kv) + i * kKeyBlock + c : nullptr;
                        if (from == nullptr || a.vectors)
                          async_copy16(to, from);
                        else
                          for (int e = 0; e < 8; ++e) to[e] = from[e];
                      }
                      load_rows<kTileKeys, S::kDv, kTileThreads>(v, a.pages.dv, a.vectors, [&](int j) -> const bf16* {
                        if (first + j >= keys) return nullptr;
                        return a.pages.value(page_of(j / kKeyBlock), kv) + j % kKeyBlock * a.pages.dv;
                      });
                    });
    R1_UNROLL for (int i = 0; i < 2; ++i) {
      if (!there(i)) continue;
      if (a.chunks != nullptr && end > kChunkSteps) {
        float* const to = a.chunk(x(i), h(i), chunk);
        if (threadIdx.x % 4 == 0) to[0] = all[i].max, to[1] = all[i].sum;
        each_value(r, i, [&](int at, float value) {
          if (at < a.pages.dv) to[2 + at] = value;
        });
        continue;
      }
      bf16* const o = a.o.at(x(i), h(i));
      const float inverse = 1.0f / all[i].sum;
      each_value(r, i, [&](int at, float value) {
        if (at < a.pages.dv) o[at] = narrow<bf16>(value * inverse);
      });
    }
  }
}

// A warp a row and query head: its chunks, joined in order as end_chunk does.
__global__ void join_kernel(const Paged a) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * (kBlock / 32) + threadIdx.x / 32, row = at / a.heads, h = at % a.heads;
  if (row >= a.rows) return;
  const int64_t n = a.last_step(row) / kChunkSteps + 1;
  if (n == 1) return;  // it is done
  for (int64_t i = threadIdx.x % 32; i < a.pages.dv; i += 32) {
    const float* chunk = a.chunk(row, h, 0);
    Softmax all{chunk[0], chunk[1]};
    float o = chunk[2 + i];
    for (int64_t c = 1; c < n; ++c) {
      chunk = a.chunk(row, h, c);
      const Joined j = join(all, {chunk[0], chunk[1]});
      o = join_value(o, chunk[2 + i], j);
    }
    a.o.at(row, h)[i] = narrow<bf16>(o * (1.0f / all.sum));
  }
}

// Fewer blocks than this leave much of a card idle: two for each of 132 multiprocessors. A choice of speed alone.
constexpr int64_t kEnoughBlocks = 264;

}  // namespace

bool attention_packed_mma(Context& ctx, const AttentionPacked& op) {
  const int64_t n = op.q.shape[0], heads = op.q.shape[1];
  const Packed a{heads_of<const bf16>(op.q),
                 heads_of<const bf16>(op.k),
                 heads_of<const bf16>(op.v),
                 heads_of<bf16>(op.o),
                 data<float>(op.lse),
                 sequences_of(op),
                 heads,
                 heads / op.k.shape[1],
                 op.q.shape[2],
                 op.v.shape[2],
                 op.scale * kLog2E,
                 vectors(op.k) && vectors(op.v)};
  return with_head_sizes(a.d, a.dv, [&](auto s) {
    using S = decltype(s);
    launch(ctx, "attention_packed_mma", packed_kernel<S>, dim3(query_tiles(n, a.sequences.count), static_cast<unsigned>(heads)),
           kTileThreads, TileMemory<S, false>::kBytes, a);
  });
}

bool attention_paged_mma(Context& ctx, const AttentionPaged& op) {
  const int64_t rows = op.q.shape[0], heads = op.q.shape[1];
  const Pages<const bf16> pages = pages_of<const bf16>(op);
  Paged a{heads_of<const bf16>(op.q),
          heads_of<bf16>(op.o),
          pages,
          rows,
          heads,
          heads / pages.heads,
          op.scale * kLog2E,
          vectors(op.k_pages) && vectors(op.v_pages),
          nullptr,
          blocks_for(pages.width * kKeyBlock, kChunkKeys)};
  const bool apart = a.chunk_count > 1 && rows * pages.heads < kEnoughBlocks;
  Scratch scratch(ctx);
  if (apart) a.chunks = scratch.floats(rows * heads * a.chunk_count * (2 + pages.dv));
  const bool done = with_head_sizes(pages.d, pages.dv, [&](auto s) {
    using S = decltype(s);
    launch(
        ctx, "attention_paged_mma", paged_kernel<S>,
        dim3(static_cast<unsigned>(rows), static_cast<unsigned>(pages.heads), apart ? static_cast<unsigned>(a.chunk_count) : 1),
        kTileThreads, TileMemory<S, true>::kBytes, a);
  });
  if (done && apart) launch(ctx, "attention_paged_join", join_kernel, blocks_for(rows * heads, kBlock / 32), kBlock, 0, a);
  return done;
}

}  // namespace r1::cuda
