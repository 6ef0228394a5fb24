// AttentionPackedBackward in bf16 by tensor cores, without atomics: a block a tile of queries walks their keys (dq), a block a
// tile of keys walks the query heads of its group and their queries in order (dk, dv). Source: Dao et al. 2022, algorithm 4: p
// = exp(scale q.k - lse), ds = p (d_o.v - delta), delta = d_o.o; dq = scale ds k. p and ds are rounded to bf16 for their
// products. Legend: as attention_mma.h; lse and scale of an exponential have log2(e) in them.
#include "kernels/cuda/attention_mma.h"

namespace r1::cuda {
namespace {

constexpr int kStepQueries = 32;  // of a step over queries: dk and dv fill the registers

struct Backward {
  Heads<const bf16> q, k, v, o, d_o;
  const float* lse;  // [Q, Hq]
  Heads<bf16> dq, dk, dv;
  float* delta;  // [Q, Hq]: written by the first kernel, read by the second
  PackedSequences sequences;
  int64_t heads, group, d, dv_n;
  float scale;
  bool vectors;
};

// Row i of a head from row `first` on, up to row `end`; none before row `begin`.
struct RowsFrom {
  Heads<const bf16> x;
  int64_t first, end, head, begin;
  __device__ const bf16* operator()(int i) const {
    return begin <= first + i && first + i < end ? x.at(first + i, head) : nullptr;
  }
};

// d[16, kColumns] = a b^T.  a: [16][kDepth + kPad], b: [kColumns][kDepth + kPad].
template <int kDepth, int kColumns>
__device__ void multiply_along(float (&d)[kColumns / 8][4], const bf16* a, const bf16* b) {
  const int lane = static_cast<int>(threadIdx.x) % 32, matrix = lane / 8, line = lane % 8;
  R1_UNROLL for (int n = 0; n < kColumns / 8; ++n) R1_UNROLL for (int e = 0; e < 4; ++e) d[n][e] = 0;
  R1_UNROLL for (int k = 0; k < kDepth; k += 16) {
    uint32_t ra[4], rb[4];
    load_matrices<false>(ra, a + (matrix % 2 * 8 + line) * (kDepth + kPad) + k + matrix / 2 * 8);
    R1_UNROLL for (int n = 0; n < kColumns / 8; n += 2) {
      load_matrices<false>(rb, b + ((n + matrix / 2) * 8 + line) * (kDepth + kPad) + k + matrix % 2 * 8);
      mma(d[n], ra, rb[0], rb[1]);
      mma(d[n + 1], ra, rb[2], rb[3]);
    }
  }
}

// The first n features of row h (g or g + 8) of sums, times `by`.
template <int kColumns>
__device__ void store_row(bf16* to, const float (&d)[kColumns / 8][4], int h, int64_t n, float by) {
  const int t = static_cast<int>(threadIdx.x) % 4;
  R1_UNROLL for (int c = 0; c < kColumns / 8; ++c) R1_UNROLL for (int e = 0; e < 2; ++e) {
    const int at = c * 8 + 2 * t + e;
    if (at < n) to[at] = narrow<bf16>(d[c][2 * h + e] * by);
  }
}

// Shared memory: the tile's two factors (queries and their gradients, or keys and values), then two stages of the other two of
// a step of kStep rows, then, for the queries of a step, lse and delta.
template <class S, int kStep>
struct BackwardMemory {
  static constexpr int kFirst = kTileRows * (S::kD + kPad), kTile = kFirst + kTileRows * (S::kDv + kPad);
  static constexpr int kStageFirst = kStep * (S::kD + kPad), kStage = kStageFirst + kStep * (S::kDv + kPad);
  static constexpr size_t kBytes = (kTile + 2 * kStage) * sizeof(bf16);
};

template <class S>
__global__ void __launch_bounds__(kTileThreads) query_kernel(const Backward a) {
  using Memory = BackwardMemory<S, kTileKeys>;
  R1_DYNAMIC_SHARED(bf16, shared);
  const SequenceTile tile = query_tile(a.sequences, gridDim.x - 1 - blockIdx.x);  // long ones first
  if (tile.first >= tile.length) return;
  const int64_t h = blockIdx.y, kv = h / a.group, begin = tile.query + tile.skipped, end = tile.query + tile.length;
  const int lane = static_cast<int>(threadIdx.x) % 32, t = lane % 4, warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
  load_rows<kTileRows, S::kD, kTileThreads>(shared, a.d, a.vectors, RowsFrom{a.q, tile.query + tile.first, end, h, begin});
  load_rows<kTileRows, S::kDv, kTileThreads>(shared + Memory::kFirst, a.dv_n, a.vectors,
                                             RowsFrom{a.d_o, tile.query + tile.first, end, h, begin});

  int64_t position[2];
  float lse[2] = {0, 0}, delta[2] = {0, 0};
  R1_UNROLL for (int i = 0; i < 2; ++i) {
    position[i] = tile.first + warp_row + lane / 4 + 8 * i;
    const int64_t row = tile.query + position[i];
    const bool asks = begin <= row && row < end;
    if (asks) {
      const bf16 *const o = a.o.at(row, h), *const d_o = a.d_o.at(row, h);
      for (int64_t f = 2 * t; f < a.dv_n; f += 8) {
        delta[i] = fmaf(widen(d_o[f]), widen(o[f]), delta[i]);
        if (f + 1 < a.dv_n) delta[i] = fmaf(widen(d_o[f + 1]), widen(o[f + 1]), delta[i]);
      }
      lse[i] = a.lse[row * a.heads + h] * kLog2E;
    }
    delta[i] += __shfl_xor_sync(~0u, delta[i], 1);
    delta[i] += __shfl_xor_sync(~0u, delta[i], 2);
    if (asks && t == 0) a.delta[row * a.heads + h] = delta[i];
  }

  const int64_t keys = tile.first + kTileRows < tile.length ? tile.first + kTileRows : tile.length;
  const int64_t steps = (keys + kTileKeys - 1) / kTileKeys;
  const auto stage_of = [&](int64_t step) { return shared + Memory::kTile + step % 2 * Memory::kStage; };
  const auto load = [&](int64_t step) {
    const int64_t first = tile.begin + step * kTileKeys;
    load_rows<kTileKeys, S::kD, kTileThreads>(stage_of(step), a.d, a.vectors, RowsFrom{a.k, first, tile.begin + keys, kv, 0});
    load_rows<kTileKeys, S::kDv, kTileThreads>(stage_of(step) + Memory::kStageFirst, a.dv_n, a.vectors,
                                               RowsFrom{a.v, first, tile.begin + keys, kv, 0});
  };
  float dq[S::kD / 8][4];
  R1_UNROLL for (int n = 0; n < S::kD / 8; ++n) R1_UNROLL for (int e = 0; e < 4; ++e) dq[n][e] = 0;
  const float scale = a.scale * kLog2E;
  each_step(0, steps, load, [&](int64_t step) {
    if (tile.first + warp_row >= tile.length) return;
    const bf16 *const k = stage_of(step), *const v = k + Memory::kStageFirst;
    float s[kTileKeys / 8][4], ds[kTileKeys / 8][4];
    multiply_along<S::kD, kTileKeys>(s, shared + warp_row * (S::kD + kPad), k);
    multiply_along<S::kDv, kTileKeys>(ds, shared + Memory::kFirst + warp_row * (S::kDv + kPad), v);
    R1_UNROLL for (int j = 0; j < kTileKeys / 8; ++j) R1_UNROLL for (int e = 0; e < 4; ++e) {
      const bool live = step * kTileKeys + j * 8 + 2 * t + e % 2 <= position[e / 2];
      const float p = power_of_2(fmaf(s[j][e], scale, -lse[e / 2]));
      ds[j][e] = live ? p * (ds[j][e] - delta[e / 2]) : 0;
    }
    uint32_t packed[kTileKeys / 16][4];
    pack_sums<kTileKeys>(packed, ds);
    multiply_across<kTileKeys, S::kD>(dq, packed, k);
  });
  R1_UNROLL for (int i = 0; i < 2; ++i) if (tile.skipped <= position[i] && position[i] < tile.length)
      store_row<S::kD>(a.dq.at(tile.query + position[i], h), dq, i, a.d, a.scale);
}

template <class S>
__global__ void __launch_bounds__(kTileThreads) key_kernel(const Backward a) {
  using Memory = BackwardMemory<S, kStepQueries>;
  R1_DYNAMIC_SHARED(bf16, shared);
  const SequenceTile tile = key_tile(a.sequences, blockIdx.x);
  if (tile.first >= tile.length) return;
  const int64_t kv = blockIdx.y, begin = tile.begin + tile.first, end = tile.begin + tile.length;
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
  load_rows<kTileRows, S::kD, kTileThreads>(shared, a.d, a.vectors, RowsFrom{a.k, begin, end, kv, 0});
  load_rows<kTileRows, S::kDv, kTileThreads>(shared + Memory::kFirst, a.dv_n, a.vectors, RowsFrom{a.v, begin, end, kv, 0});

  // Of the queries of a step: lse, delta. Beyond the last, where queries and gradients are zeros, any finite number does.
  float* const numbers = reinterpret_cast<float*>(shared + Memory::kTile + 2 * Memory::kStage);
  // Steps are cut from the tile's first position; those without a query are left out.
  const int64_t asks = tile.query + tile.skipped, last = tile.query + tile.length, unasked = tile.skipped - tile.first;
  const int64_t first_step = unasked > 0 ? unasked / kStepQueries : 0;
  const int64_t all_steps = asks < last ? (tile.length - tile.first + kStepQueries - 1) / kStepQueries : first_step;
  const int64_t head_steps = all_steps - first_step, steps = a.group * head_steps;
  const auto stage_of = [&](int64_t step) { return shared + Memory::kTile + step % 2 * Memory::kStage; };
  const auto load = [&](int64_t step) {
    const int64_t h = kv * a.group + step / head_steps;
    const int64_t first = tile.query + tile.first + (first_step + step % head_steps) * kStepQueries;
    load_rows<kStepQueries, S::kD, kTileThreads>(stage_of(step), a.d, a.vectors, RowsFrom{a.q, first, last, h, asks});
    load_rows<kStepQueries, S::kDv, kTileThreads>(stage_of(step) + Memory::kStageFirst, a.dv_n, a.vectors,
                                                  RowsFrom{a.d_o, first, last, h, asks});
    if (threadIdx.x < kStepQueries) {
      const int64_t row = first + threadIdx.x;
      float* const to = numbers + step % 2 * 2 * kStepQueries + threadIdx.x;
      const bool there = asks <= row && row < last;
      to[0] = there ? a.lse[row * a.heads + h] * kLog2E : 0;
      to[kStepQueries] = there ? a.delta[row * a.heads + h] : 0;
    }
  };
  float dk[S::kD / 8][4], dv[S::kDv / 8][4];
  R1_UNROLL for (int n = 0; n < S::kD / 8; ++n) R1_UNROLL for (int e = 0; e < 4; ++e) dk[n][e] = 0;
  R1_UNROLL for (int n = 0; n < S::kDv / 8; ++n) R1_UNROLL for (int e = 0; e < 4; ++e) dv[n][e] = 0;
  const float scale = a.scale * kLog2E;
  each_step(0, steps, load, [&](int64_t step) {
    const int64_t first = (first_step + step % head_steps) * kStepQueries;    // from the tile's first key on
    if (warp_row >= first + kStepQueries || begin + warp_row >= end) return;  // no query of the step sees a key of the warp
    const bf16 *const q = stage_of(step), *const d_o = q + Memory::kStageFirst;
    const float *const lse = numbers + step % 2 * 2 * kStepQueries, *const delta = lse + kStepQueries;
    float p[kStepQueries / 8][4], ds[kStepQueries / 8][4];
    multiply_along<S::kD, kStepQueries>(p, shared + warp_row * (S::kD + kPad), q);
    multiply_along<S::kDv, kStepQueries>(ds, shared + Memory::kFirst + warp_row * (S::kDv + kPad), d_o);
    R1_UNROLL for (int j = 0; j < kStepQueries / 8; ++j) R1_UNROLL for (int e = 0; e < 4; ++e) {
      const int query = j * 8 + 2 * t + e % 2;
      const bool live = warp_row + g + e / 2 * 8 <= first + query;
      p[j][e] = live ? power_of_2(fmaf(p[j][e], scale, -lse[query])) : 0;
      ds[j][e] = live ? p[j][e] * (ds[j][e] - delta[query]) : 0;
    }
    uint32_t packed[kStepQueries / 16][4];
    pack_sums<kStepQueries>(packed, p);
    multiply_across<kStepQueries, S::kDv>(dv, packed, d_o);
    pack_sums<kStepQueries>(packed, ds);
    multiply_across<kStepQueries, S::kD>(dk, packed, q);
  });
  R1_UNROLL for (int i = 0; i < 2; ++i) {
    const int64_t row = begin + warp_row + g + 8 * i;
    if (row >= end) continue;
    store_row<S::kD>(a.dk.at(row, kv), dk, i, a.d, a.scale);
    store_row<S::kDv>(a.dv.at(row, kv), dv, i, a.dv_n, 1);
  }
}

}  // namespace

bool attention_packed_backward_mma(Context& ctx, const AttentionPackedBackward& op) {
  const int64_t n = op.q.shape[0], t = op.k.shape[0], heads = op.q.shape[1], kv_heads = op.k.shape[1];
  Scratch scratch(ctx);
  const Backward a{heads_of<const bf16>(op.q),
                   heads_of<const bf16>(op.k),
                   heads_of<const bf16>(op.v),
                   heads_of<const bf16>(op.o),
                   heads_of<const bf16>(op.d_o),
                   data<const float>(op.lse),
                   heads_of<bf16>(op.dq),
                   heads_of<bf16>(op.dk),
                   heads_of<bf16>(op.dv),
                   scratch.floats(n * heads),
                   sequences_of(op),
                   heads,
                   heads / kv_heads,
                   op.q.shape[2],
                   op.v.shape[2],
                   op.scale,
                   vectors(op.q) && vectors(op.k) && vectors(op.v) && vectors(op.d_o)};
  return with_head_sizes(a.d, a.dv_n, [&](auto s) {
    using S = decltype(s);
    if (n > 0)
      launch(ctx, "attention_backward_queries_mma", query_kernel<S>,
             dim3(query_tiles(n, a.sequences.count), static_cast<unsigned>(heads)), kTileThreads,
             BackwardMemory<S, kTileKeys>::kBytes, a);
    launch(ctx, "attention_backward_keys_mma", key_kernel<S>,
           dim3(key_tiles(t, a.sequences.count), static_cast<unsigned>(kv_heads)), kTileThreads,
           BackwardMemory<S, kStepQueries>::kBytes + 4 * kStepQueries * sizeof(float), a);
  });
}

}  // namespace r1::cuda
