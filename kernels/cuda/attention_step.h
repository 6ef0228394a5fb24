// One softmax step over a block of keys, shared by packed and paged attention, so that a row has the same bits in both,
// whatever rows stand beside it and however its keys lie.
//
// A warp a row (one query head of one token): a lane a key for the scores, a lane every 32nd feature for the values. Scores and
// sums are f32 chains in order; the softmax is online. Source: Dao et al. 2022, algorithm 1.
// Legend: D, Dv: features of keys and values.
#pragma once

#include "kernels/cuda/attention.h"

namespace r1::cuda {

inline constexpr int kStepKeys = 32;       // of one softmax step: two pages
inline constexpr int kAttentionWarps = 4;  // rows of a block
static_assert(kStepKeys % kKeyBlock == 0);

// A row between steps. In shared memory, the warp's own: q [D], p [kStepKeys], o [Dv].
struct AttentionRow {
  float *q, *p, *o;
  float max, sum;
};

inline size_t attention_shared(int64_t d, int64_t dv) {
  return static_cast<size_t>(kAttentionWarps * (d + kStepKeys + dv)) * sizeof(float);
}

template <class E>
__device__ AttentionRow start_row(float* shared, const E* q, int64_t d, int64_t dv) {
  const int lane = threadIdx.x % 32;
  float* const own = shared + threadIdx.x / 32 * (d + kStepKeys + dv);
  const AttentionRow r{own, own + d, own + d + kStepKeys, -infinity(), 0};
  for (int64_t i = lane; i < d; i += 32) r.q[i] = widen(q[i]);
  for (int64_t i = lane; i < dv; i += 32) r.o[i] = 0;
  __syncwarp();
  return r;
}

// live: keys of this step, 1 to kStepKeys; others are not read.  key(j, i), value(j, i): feature i of key or value j, as f32.
template <class Key, class Value>
__device__ void attend_step(AttentionRow& r, int live, int64_t d, int64_t dv, float scale, Key key, Value value) {
  const int lane = threadIdx.x % 32;
  float score = -infinity();
  if (lane < live) {
    float dot = 0;
    for (int64_t i = 0; i < d; ++i) dot = fmaf(r.q[i], key(lane, i), dot);
    score = dot * scale;
  }
  const float max = fmaxf(r.max, warp_max(score)), correction = expf(r.max - max);
  const float p = lane < live ? expf(score - max) : 0.0f;
  r.sum = r.sum * correction + warp_sum(p);
  r.max = max;
  r.p[lane] = p;
  __syncwarp();
  for (int64_t i = lane; i < dv; i += 32) {
    float sum = r.o[i] * correction;
    for (int j = 0; j < live; ++j) sum = fmaf(r.p[j], value(j, i), sum);
    r.o[i] = sum;
  }
  __syncwarp();
}

// lse: one number, or null.
template <class E>
__device__ void finish_row(const AttentionRow& r, E* o, float* lse, int64_t dv) {
  const int lane = threadIdx.x % 32;
  const float inverse = 1.0f / r.sum;
  for (int64_t i = lane; i < dv; i += 32) o[i] = narrow<E>(r.o[i] * inverse);
  if (lse != nullptr && lane == 0) *lse = r.max + logf(r.sum);
}

}  // namespace r1::cuda
