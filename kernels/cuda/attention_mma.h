// Attention of a tile of query rows by tensor cores, shared by packed and paged attention, so that a row has the same bits in
// both, whatever rows stand beside it and however its keys lie.
//
// Keys go in steps of kTileKeys and chunks of kChunkKeys from position 0. A chunk is a softmax of its own (online, step by
// step, in f32); chunks are joined in order. So one block may take all chunks of a row, or a block each: the bits are the same.
// All rows of a tile end in the same step: none ever sees a step without a key of its own. Weights are rounded to bf16 for
// their product with the values, their sum is of f32 (docs/decisions.md). Source: Dao et al. 2022, algorithm 1; Dao 2023
// (2307.08691), section 3.1.
//
// Legend: D, Dv: features of keys and values; kD, kDv: padded with zeros to what is compiled. Lane l: g = l / 4, t = l % 4
// (mma.h): it has rows g and g + 8 of its warp's 16. Scores are scaled by log2(e) too: their exponentials are powers of two.
#pragma once

#include "kernels/cuda/attention.h"
#include "kernels/cuda/mma.h"

namespace r1::cuda {

inline constexpr int kTileThreads = kTileRows / 16 * 32;  // a warp 16 rows
inline constexpr int kTileKeys = 64, kChunkKeys = 256, kChunkSteps = kChunkKeys / kTileKeys;
static_assert(kTileKeys % kKeyBlock == 0 && kChunkKeys % kTileKeys == 0 && kTileRows == kTileKeys);
inline constexpr float kLog2E = 1.44269504088896341f, kLn2 = 0.69314718055994531f;

template <int kD_, int kDv_>
struct HeadSizes {
  static constexpr int kD = kD_, kDv = kDv_;
};
// Calls f(HeadSizes) with the least that are compiled; false: there are none so large, and the plain kernels have to do.
template <class F>
bool with_head_sizes(int64_t d, int64_t dv, F&& f) {
  if (d <= 32 && dv <= 32)
    f(HeadSizes<32, 32>{});
  else if (d <= 64 && dv <= 64)
    f(HeadSizes<64, 64>{});
  else if (d <= 128 && dv <= 128)
    f(HeadSizes<128, 128>{});
  else if (d <= 192 && dv <= 128)
    f(HeadSizes<192, 128>{});
  else
    return false;
  return true;
}

// ---- products of a warp's 16 rows

// Sums as the first factor of another product.
template <int kColumns>
__device__ void pack_sums(uint32_t (&p)[kColumns / 16][4], const float (&s)[kColumns / 8][4]) {
  R1_UNROLL for (int c = 0; c < kColumns / 16; ++c) R1_UNROLL for (int i = 0; i < 4; ++i) p[c][i] =
      pack(s[2 * c + i / 2][i % 2 * 2], s[2 * c + i / 2][i % 2 * 2 + 1]);
}
// d[16, kColumns] += p[16, kDepth] b[kDepth, kColumns]; b: [kDepth][kColumns + kPad].
template <int kDepth, int kColumns>
__device__ void multiply_across(float (&d)[kColumns / 8][4], const uint32_t (&p)[kDepth / 16][4], const bf16* b) {
  const int lane = static_cast<int>(threadIdx.x) % 32, matrix = lane / 8, line = lane % 8;
  R1_UNROLL for (int c = 0; c < kDepth / 16; ++c) R1_UNROLL for (int n = 0; n < kColumns / 8; n += 2) {
    uint32_t r[4];
    load_matrices<true>(r, b + (c * 16 + matrix % 2 * 8 + line) * (kColumns + kPad) + (n + matrix / 2) * 8);
    mma(d[n], p[c], r[0], r[1]);
    mma(d[n + 1], p[c], r[2], r[3]);
  }
}

// The 16 query rows of a warp between steps. `sum` is of this lane's keys only.
template <class S>
struct AttentionRows {
  uint32_t q[S::kD / 16][4];
  float o[S::kDv / 8][4], max[2], sum[2];

  // Rows g and g + 8, each of d features, or null.
  __device__ void load(const bf16* const (&row)[2], int64_t d) {
    const int t = static_cast<int>(threadIdx.x) % 4;
    R1_UNROLL for (int i = 0; i < S::kD / 16; ++i) R1_UNROLL for (int j = 0; j < 4; ++j) {
      const int at = i * 16 + 2 * t + j / 2 * 8;
      const bf16* const from = row[j % 2];
      const uint32_t low = from != nullptr && at < d ? from[at] : 0, high = from != nullptr && at + 1 < d ? from[at + 1] : 0;
      q[i][j] = low | high << 16;
    }
  }
  __device__ void begin_chunk() {
    R1_UNROLL for (int n = 0; n < S::kDv / 8; ++n) R1_UNROLL for (int e = 0; e < 4; ++e) o[n][e] = 0;
    max[0] = max[1] = -infinity();
    sum[0] = sum[1] = 0;
  }
};

// One softmax step. k: [kTileKeys][kD + kPad], or kAcross: [kD][kTileKeys + kPad]; v: [kTileKeys][kDv + kPad]. Keys at
// or beyond live[0] (live[1]) are not seen by row g (g + 8); their values are finite.  scale: with log2(e) in it.
template <class S, bool kAcross>
__device__ void attend_tile(AttentionRows<S>& r, const bf16* k, const bf16* v, const int (&live)[2], float scale) {
  const int lane = static_cast<int>(threadIdx.x) % 32, t = lane % 4, matrix = lane / 8, line = lane % 8;
  float s[kTileKeys / 8][4];
  R1_UNROLL for (int j = 0; j < kTileKeys / 8; ++j) R1_UNROLL for (int e = 0; e < 4; ++e) s[j][e] = 0;
  R1_UNROLL for (int i = 0; i < S::kD / 16; ++i) R1_UNROLL for (int j = 0; j < kTileKeys / 8; j += 2) {
    uint32_t b[4];
    if constexpr (kAcross)
      load_matrices<true>(b, k + (i * 16 + matrix % 2 * 8 + line) * (kTileKeys + kPad) + (j + matrix / 2) * 8);
    else
      load_matrices<false>(b, k + ((j + matrix / 2) * 8 + line) * (S::kD + kPad) + i * 16 + matrix % 2 * 8);
    mma(s[j], r.q[i], b[0], b[1]);
    mma(s[j + 1], r.q[i], b[2], b[3]);
  }
  R1_UNROLL for (int h = 0; h < 2; ++h) {
    float max = r.max[h];
    R1_UNROLL for (int j = 0; j < kTileKeys / 8; ++j) R1_UNROLL for (int e = 0; e < 2; ++e) {
      float& x = s[j][2 * h + e];
      x = j * 8 + 2 * t + e < live[h] ? x * scale : -infinity();
      max = fmaxf(max, x);
    }
    max = fmaxf(max, __shfl_xor_sync(~0u, max, 1));
    max = fmaxf(max, __shfl_xor_sync(~0u, max, 2));
    const float correction = power_of_2(r.max[h] - max);
    float sum = 0;
    R1_UNROLL for (int j = 0; j < kTileKeys / 8; ++j) R1_UNROLL for (int e = 0; e < 2; ++e) {
      float& x = s[j][2 * h + e];
      x = power_of_2(x - max);
      sum += x;
    }
    r.max[h] = max;
    r.sum[h] = fmaf(r.sum[h], correction, sum);
    R1_UNROLL for (int n = 0; n < S::kDv / 8; ++n) R1_UNROLL for (int e = 0; e < 2; ++e) r.o[n][2 * h + e] *= correction;
  }
  uint32_t p[kTileKeys / 16][4];
  pack_sums<kTileKeys>(p, s);
  multiply_across<kTileKeys, S::kDv>(r.o, p, v);
}

// ---- chunks

// What a row's chunks have come to, without the values: the largest score, the sum of the weights under it.
struct Softmax {
  float max, sum;
};
// The next chunk joins; the weighted values o join as fmaf(o, keep, chunk * add).
struct Joined {
  float keep, add;
};
__device__ inline Joined join(Softmax& all, const Softmax& chunk) {
  const float max = fmaxf(all.max, chunk.max);
  const Joined j{power_of_2(all.max - max), power_of_2(chunk.max - max)};
  all = {max, fmaf(all.sum, j.keep, chunk.sum * j.add)};
  return j;
}
__device__ inline float join_value(float o, float chunk, const Joined& j) { return fmaf(o, j.keep, chunk * j.add); }
__device__ inline float log_sum_exp(const Softmax& s) { return fmaf(s.max, kLn2, logf(s.sum)); }

// Ends a chunk: r.o and `all` become those of all chunks so far.  earlier: o of the chunks before, this thread's own in shared
// memory, a column of [4 * kDv / 8][kTileThreads]; first: there are none.
template <class S>
__device__ void end_chunk(AttentionRows<S>& r, Softmax (&all)[2], float* earlier, bool first, bool last) {
  R1_UNROLL for (int h = 0; h < 2; ++h) {
    float sum = r.sum[h];
    sum += __shfl_xor_sync(~0u, sum, 1);
    sum += __shfl_xor_sync(~0u, sum, 2);
    const Softmax chunk{r.max[h], sum};
    if (first) {
      all[h] = chunk;
    } else {
      const Joined j = join(all[h], chunk);
      R1_UNROLL for (int n = 0; n < S::kDv / 8; ++n) R1_UNROLL for (int e = 0; e < 2; ++e) {
        float& o = r.o[n][2 * h + e];
        o = join_value(earlier[(n * 4 + 2 * h + e) * kTileThreads], o, j);
      }
    }
  }
  if (last) return;
  R1_UNROLL for (int n = 0; n < S::kDv / 8; ++n) R1_UNROLL for (int e = 0; e < 4; ++e) earlier[(n * 4 + e) * kTileThreads] =
      r.o[n][e];
}

// ---- a tile

// Steps [begin, end) over two stages of shared memory, by all threads of a block: load(step) copies a step's rows,
// asynchronously, into the stage that its number's parity names, while work(step) has those of the step before.
template <class Load, class Work>
__device__ void each_step(int64_t begin, int64_t end, Load load, Work work) {
  const auto fetch = [&](int64_t step) {
    if (step < end) load(step);
    async_commit();
  };
  fetch(begin);
  for (int64_t step = begin; step < end; ++step) {
    fetch(step + 1);
    async_wait<1>();
    __syncthreads();
    work(step);
    __syncthreads();  // nobody still reads the stage that is loaded next
  }
}

// Shared memory of a tile: two stages of kStage elements, of which kKeys are keys, then the values of earlier chunks.
template <class S, bool kAcross>
struct TileMemory {
  static constexpr int kKeys = kAcross ? S::kD * (kTileKeys + kPad) : kTileKeys * (S::kD + kPad);
  static constexpr int kStage = kKeys + kTileKeys * (S::kDv + kPad);
  static constexpr size_t kBytes = 2 * kStage * sizeof(bf16) + size_t{S::kDv} / 2 * kTileThreads * sizeof(float);
};

// Steps [begin, end) for the rows of a tile, `begin` at the beginning of a chunk; all threads of the block. What r.o and `all`
// then have is not yet divided by the sum.
// position: of rows g and g + 8 of this warp; busy: whether the warp has rows.  load(step, k, v): copies a step's keys and
// values to shared memory, as attend_tile takes them.
template <class S, bool kAcross, class Load>
__device__ void attend(AttentionRows<S>& r, Softmax (&all)[2], const int64_t (&position)[2], bool busy, int64_t begin,
                       int64_t end, float scale, Load load) {
  R1_DYNAMIC_SHARED(bf16, shared);
  constexpr int kKeys = TileMemory<S, kAcross>::kKeys, kStage = TileMemory<S, kAcross>::kStage;
  float* const earlier = reinterpret_cast<float*>(shared + 2 * kStage) + threadIdx.x;
  each_step(
      begin, end,
      [&](int64_t step) {
        bf16* const stage = shared + step % 2 * kStage;
        load(step, stage, stage + kKeys);
      },
      [&](int64_t step) {
        if (!busy) return;
        const bf16* const stage = shared + step % 2 * kStage;
        const int live[2] = {static_cast<int>(position[0] + 1 - step * kTileKeys),
                             static_cast<int>(position[1] + 1 - step * kTileKeys)};
        if (step % kChunkSteps == 0) r.begin_chunk();
        attend_tile<S, kAcross>(r, stage, stage + kKeys, live, scale);
        if (step + 1 == end || (step + 1) % kChunkSteps == 0)
          end_chunk(r, all, earlier, step / kChunkSteps == begin / kChunkSteps, step + 1 == end);
      });
}

// The elements of row h (g or g + 8) that this lane has: f(feature, value).
template <class S, class F>
__device__ void each_value(const AttentionRows<S>& r, int h, F f) {
  const int t = static_cast<int>(threadIdx.x) % 4;
  R1_UNROLL for (int n = 0; n < S::kDv / 8; ++n) R1_UNROLL for (int e = 0; e < 2; ++e) f(n * 8 + 2 * t + e, r.o[n][2 * h + e]);
}

}  // namespace r1::cuda
