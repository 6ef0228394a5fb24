// AttentionPackedBackward in plain kernels, without atomics: one kernel walks the keys of each query (dq), one the queries of
// each key (dk, dv). Source: Dao et al. 2022, algorithm 4: p = exp(scale q.k - lse), ds = scale p (d_o.v - delta), delta =
// d_o.o. Legend: D, Dv: features of keys and values; a step is kStepKeys keys or queries, a lane each.
#include "kernels/cuda/attention_step.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

template <class E>
struct Backward {
  Heads<const E> q, k, v, o, d_o;
  const float* lse;  // [Q, Hq]
  Heads<E> dq, dk, dv;
  float* delta;  // [Q, Hq]: written by the first kernel, read by the second
  PackedSequences sequences;
  int64_t rows, key_rows, heads, kv_heads, group, d, dv_n;
  float scale;
};

// p and ds of one query and one key.
struct Pair {
  float p, ds;
};
template <class E>
__device__ Pair pair_of(const float* x, const float* y, const E* other_x, const E* other_y, int64_t d, int64_t dv, float scale,
                        float lse, float delta) {
  float score = 0, dp = 0;
  for (int64_t i = 0; i < d; ++i) score = fmaf(x[i], widen(other_x[i]), score);
  for (int64_t i = 0; i < dv; ++i) dp = fmaf(y[i], widen(other_y[i]), dp);
  const float p = expf(score * scale - lse);
  return {p, p * (dp - delta) * scale};
}

// A warp a query row. In shared memory, a warp: q [D], d_o [Dv], ds [kStepKeys], dq [D].
template <class E>
__global__ void query_kernel(const Backward<E> a) {
  R1_DYNAMIC_SHARED(float, shared);
  const int lane = threadIdx.x % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kAttentionWarps + threadIdx.x / 32, t = row / a.heads,
                h = row % a.heads;
  if (t >= a.rows) return;
  float* const q = shared + threadIdx.x / 32 * (2 * a.d + a.dv_n + kStepKeys);
  float *const d_o = q + a.d, *const ds = d_o + a.dv_n, *const dq = ds + kStepKeys;
  const E *const o = a.o.at(t, h), *const g = a.d_o.at(t, h);
  float delta = 0;
  for (int64_t i = lane; i < a.d; i += 32) q[i] = widen(a.q.at(t, h)[i]), dq[i] = 0;
  for (int64_t i = lane; i < a.dv_n; i += 32) d_o[i] = widen(g[i]), delta = fmaf(d_o[i], widen(o[i]), delta);
  delta = warp_sum(delta);
  if (lane == 0) a.delta[row] = delta;
  __syncwarp();
  const PackedSequence s = a.sequences[sequence_of(a.sequences.queries, a.sequences.count, t)];
  const int64_t last = s.begin + t - s.query, kv = h / a.group;
  for (int64_t k0 = s.begin; k0 <= last; k0 += kStepKeys) {
    const int live = static_cast<int>(last + 1 - k0 < kStepKeys ? last + 1 - k0 : kStepKeys);
    if (lane < live)
      ds[lane] = pair_of(q, d_o, a.k.at(k0 + lane, kv), a.v.at(k0 + lane, kv), a.d, a.dv_n, a.scale, a.lse[row], delta).ds;
    __syncwarp();
    for (int64_t i = lane; i < a.d; i += 32) {
      float sum = dq[i];
      for (int j = 0; j < live; ++j) sum = fmaf(ds[j], widen(a.k.at(k0 + j, kv)[i]), sum);
      dq[i] = sum;
    }
    __syncwarp();
  }
  for (int64_t i = lane; i < a.d; i += 32) a.dq.at(t, h)[i] = narrow<E>(dq[i]);
}

// A warp a key row: its group's query heads in order, and their queries. In shared memory, a warp: k [D], v [Dv], p and ds
// [kStepKeys] each, dk [D], dv [Dv].
template <class E>
__global__ void key_kernel(const Backward<E> a) {
  R1_DYNAMIC_SHARED(float, shared);
  const int lane = threadIdx.x % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kAttentionWarps + threadIdx.x / 32, u = row / a.kv_heads,
                kv = row % a.kv_heads;
  if (u >= a.key_rows) return;
  float* const k = shared + threadIdx.x / 32 * 2 * (a.d + a.dv_n + kStepKeys);
  float *const v = k + a.d, *const p = v + a.dv_n, *const ds = p + kStepKeys, *const dk = ds + kStepKeys, *const dv = dk + a.d;
  for (int64_t i = lane; i < a.d; i += 32) k[i] = widen(a.k.at(u, kv)[i]), dk[i] = 0;
  for (int64_t i = lane; i < a.dv_n; i += 32) v[i] = widen(a.v.at(u, kv)[i]), dv[i] = 0;
  __syncwarp();
  const PackedSequence s = a.sequences[sequence_of(a.sequences.keys, a.sequences.count, u)];
  const int64_t position = u - s.begin, begin = s.query + (position < s.skipped ? s.skipped : position),
                end = s.query + s.length;
  for (int64_t h = kv * a.group; h < (kv + 1) * a.group; ++h)
    for (int64_t t0 = begin; t0 < end; t0 += kStepKeys) {
      const int live = static_cast<int>(end - t0 < kStepKeys ? end - t0 : kStepKeys);
      if (lane < live) {
        const int64_t t = t0 + lane, at = t * a.heads + h;
        const Pair x = pair_of(k, v, a.q.at(t, h), a.d_o.at(t, h), a.d, a.dv_n, a.scale, a.lse[at], a.delta[at]);
        p[lane] = x.p;
        ds[lane] = x.ds;
      }
      __syncwarp();
      for (int64_t i = lane; i < a.d; i += 32) {
        float sum = dk[i];
        for (int j = 0; j < live; ++j) sum = fmaf(ds[j], widen(a.q.at(t0 + j, h)[i]), sum);
        dk[i] = sum;
      }
      for (int64_t i = lane; i < a.dv_n; i += 32) {
        float sum = dv[i];
        for (int j = 0; j < live; ++j) sum = fmaf(p[j], widen(a.d_o.at(t0 + j, h)[i]), sum);
        dv[i] = sum;
      }
      __syncwarp();
    }
  for (int64_t i = lane; i < a.d; i += 32) a.dk.at(u, kv)[i] = narrow<E>(dk[i]);
  for (int64_t i = lane; i < a.dv_n; i += 32) a.dv.at(u, kv)[i] = narrow<E>(dv[i]);
}

}  // namespace

void attention_packed_backward(Context& ctx, const AttentionPackedBackward& op) {
  const bool bf16 = op.q.dtype == DType::bf16;
  if (bf16 && attention_backward() == AttentionBackward::cudnn && attention_packed_backward_cudnn(ctx, op)) return;
  if (bf16 && use_tensor_cores() && attention_packed_backward_mma(ctx, op)) return;
  const int64_t n = op.q.shape[0], t = op.k.shape[0], heads = op.q.shape[1], kv_heads = op.k.shape[1], d = op.q.shape[2],
                dv = op.v.shape[2];
  Scratch scratch(ctx);
  float* const delta = scratch.floats(n * heads);
  with_float(op.q, [&](auto e) {
    using E = decltype(e);
    const Backward<E> a{heads_of<const E>(op.q),
                        heads_of<const E>(op.k),
                        heads_of<const E>(op.v),
                        heads_of<const E>(op.o),
                        heads_of<const E>(op.d_o),
                        data<const float>(op.lse),
                        heads_of<E>(op.dq),
                        heads_of<E>(op.dk),
                        heads_of<E>(op.dv),
                        delta,
                        sequences_of(op),
                        n,
                        t,
                        heads,
                        kv_heads,
                        heads / kv_heads,
                        d,
                        dv,
                        op.scale};
    const auto shared = [](int64_t floats) { return static_cast<size_t>(kAttentionWarps * floats) * sizeof(float); };
    if (n > 0)
      launch(ctx, "attention_backward_queries", query_kernel<E>, blocks_for(n * heads, kAttentionWarps), kAttentionWarps * 32,
             shared(2 * d + dv + kStepKeys), a);
    launch(ctx, "attention_backward_keys", key_kernel<E>, blocks_for(t * kv_heads, kAttentionWarps), kAttentionWarps * 32,
           shared(2 * (d + dv + kStepKeys)), a);
  });
}

}  // namespace r1::cuda
