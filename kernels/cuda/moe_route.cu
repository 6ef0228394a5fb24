// Which experts a token goes to: MoeRoute, its backward and MoeBalanceLoss; a warp a token.
// Legend: E: experts, k: those of a token.
#include "kernels/cuda/device_code.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

constexpr int kWarps = 4;  // tokens of a block

// A place in the order "largest value first, ties: lower index"; NaN counts as the smallest.
struct Ranked {
  float value;
  int index;
};
__device__ inline bool before(const Ranked& a, const Ranked& b) {
  return a.value > b.value || (a.value == b.value && a.index < b.index);
}
__device__ inline Ranked ranked(float value, int64_t index) {
  return {value == value ? value : -infinity(), static_cast<int>(index)};
}
constexpr int kNone = 0x7fffffff;  // behind every index

// The first of value(0..n) behind `after`, over the warp; after.index < 0: the very first.
template <class Value>
__device__ Ranked next_largest(int64_t n, const Ranked& after, Value value) {
  Ranked best{-infinity(), kNone};
  for (int64_t i = threadIdx.x % 32; i < n; i += 32) {
    const Ranked r = ranked(value(i), i);
    if ((after.index < 0 || before(after, r)) && before(r, best)) best = r;
  }
  R1_UNROLL for (int x = 16; x > 0; x >>= 1) {
    const Ranked other{__shfl_xor_sync(~0u, best.value, x), __shfl_xor_sync(~0u, best.index, x)};
    if (before(other, best)) best = other;
  }
  return best;
}
constexpr Ranked kBeforeAll{0, -1};

__device__ inline int64_t own_token() { return static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32; }

// The sum of the `n` (1 or 2) largest of z[0..size), by one thread.
__device__ inline float group_score(const float* z, int64_t size, int n) {
  Ranked first{-infinity(), kNone}, second = first;
  for (int64_t i = 0; i < size; ++i) {
    const Ranked r = ranked(z[i], i);
    if (before(r, first)) {
      second = first;
      first = r;
    } else if (before(r, second)) {
      second = r;
    }
  }
  const float top = z[first.index];
  return n < 2 || size < 2 ? top : top + z[second.index];
}

struct Route {
  const float *logits, *bias;
  float* scores;
  int32_t* experts;
  float* weights;
  int64_t rows, e_n, k_n, groups, top_groups;
  bool softmax, normalize;
  float scale;
};

// In shared memory, a warp: z [E], group scores [groups], kept [groups].
__global__ void route_kernel(const Route a) {
  R1_DYNAMIC_SHARED(float, shared);
  const int lane = threadIdx.x % 32;
  const int64_t t = own_token();
  if (t >= a.rows) return;
  float* const z = shared + threadIdx.x / 32 * (a.e_n + 2 * a.groups);
  float *const group = z + a.e_n, *const kept = group + a.groups;
  const float* const x = a.logits + t * a.e_n;
  float* const scores = a.scores + t * a.e_n;
  float max = 0, sum = 0;
  if (a.softmax) {
    max = -infinity();
    for (int64_t e = lane; e < a.e_n; e += 32) max = fmaxf(max, x[e]);
    max = warp_max(max);
    for (int64_t e = lane; e < a.e_n; e += 32) sum += expf(x[e] - max);
    sum = warp_sum(sum);
  }
  for (int64_t e = lane; e < a.e_n; e += 32) {
    const float s = a.softmax ? expf(x[e] - max) / sum : 1.0f / (1.0f + expf(-x[e]));
    scores[e] = s;
    z[e] = a.bias != nullptr ? s + a.bias[e] : s;
  }
  __syncwarp();
  const int64_t size = a.e_n / a.groups;
  for (int64_t g = lane; g < a.groups; g += 32) {
    group[g] = group_score(z + g * size, size, a.softmax && a.bias == nullptr ? 1 : 2);
    kept[g] = 0;
  }
  __syncwarp();
  Ranked last = kBeforeAll;
  for (int64_t n = 0; n < a.top_groups; ++n) {
    last = next_largest(a.groups, last, [&](int64_t g) { return group[g]; });
    if (lane == 0) kept[last.index] = 1;
  }
  __syncwarp();
  // Lane 0 keeps the sum; all know the choice.
  last = kBeforeAll;
  float chosen = 0;
  for (int64_t j = 0; j < a.k_n; ++j) {
    last = next_largest(a.e_n, last, [&](int64_t e) { return kept[e / size] != 0 ? z[e] : -infinity(); });
    if (lane == 0) a.experts[t * a.k_n + j] = last.index;
    chosen += scores[last.index];
    __syncwarp();
  }
  if (lane != 0) return;
  for (int64_t j = 0; j < a.k_n; ++j) {
    const float s = scores[a.experts[t * a.k_n + j]];
    a.weights[t * a.k_n + j] = a.scale * (a.normalize ? s / (chosen + 1e-20f) : s);
  }
}

struct RouteBackward {
  const float* scores;
  const int32_t* experts;
  const float *dweights, *dscores;
  float* dlogits;
  int64_t rows, e_n, k_n;
  bool softmax, normalize;
  float scale;
};

// With u_j = s_j / S, S = sum s + 1e-20:  ds_j = scale (dw_j - sum_i dw_i u_i) / S.  sigmoid: dx = ds s (1 - s);
// softmax: dx = s (ds - sum ds s).
__global__ void route_backward_kernel(const RouteBackward a) {
  const int lane = threadIdx.x % 32;
  const int64_t t = own_token();
  if (t >= a.rows) return;
  const float *const s = a.scores + t * a.e_n, *const dw = a.dweights + t * a.k_n;
  const int32_t* const experts = a.experts + t * a.k_n;
  float* const d = a.dlogits + t * a.e_n;
  for (int64_t e = lane; e < a.e_n; e += 32) d[e] = a.dscores != nullptr ? a.dscores[t * a.e_n + e] : 0.0f;
  __syncwarp();
  if (lane == 0) {
    float sum = 1e-20f, mixed = 0;
    for (int64_t j = 0; j < a.k_n; ++j) sum += s[experts[j]];
    for (int64_t j = 0; j < a.k_n; ++j) mixed += dw[j] * s[experts[j]] / sum;
    for (int64_t j = 0; j < a.k_n; ++j) d[experts[j]] += a.scale * (a.normalize ? (dw[j] - mixed) / sum : dw[j]);
  }
  __syncwarp();
  float inner = 0;
  if (a.softmax) {
    for (int64_t e = lane; e < a.e_n; e += 32) inner = fmaf(d[e], s[e], inner);
    inner = warp_sum(inner);
  }
  for (int64_t e = lane; e < a.e_n; e += 32) d[e] = a.softmax ? s[e] * (d[e] - inner) : d[e] * s[e] * (1.0f - s[e]);
}

// ---- the balance loss: a block a sequence
// ---------------------------------------------------------------------------------------

struct Balance {
  const float* scores;
  const int32_t* offsets;
  float* dscores;
  float* losses;  // [S]
  int64_t e_n;
  int k;
  float weight;
};
constexpr int kBalanceWarps = kBlock / 32;

// With q = s / S, S = sum_j s_j:  dL/ds_e = c/T_s (f_e - sum_j f_j q_j) / S.  In shared memory: f [E] as counts.
__global__ void balance_kernel(const Balance a) {
  using Shared = BlockShared<float, kBlock>;
  R1_DYNAMIC_SHARED(int, counts);
  R1_SHARED(Shared, shared);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t begin = a.offsets[blockIdx.x], end = a.offsets[blockIdx.x + 1];
  for (int64_t e = threadIdx.x; e < a.e_n; e += kBlock) counts[e] = 0;
  __syncthreads();
  for (int64_t t = begin + warp; t < end; t += kBalanceWarps) {
    Ranked last = kBeforeAll;
    for (int j = 0; j < a.k; ++j) {
      last = next_largest(a.e_n, last, [&](int64_t e) { return a.scores[t * a.e_n + e]; });
      if (lane == 0) atomicAdd(&counts[last.index], 1);
    }
  }
  __syncthreads();
  const float rows = static_cast<float>(end - begin);
  const float unit = static_cast<float>(a.e_n) / (static_cast<float>(a.k) * rows);
  float loss = 0;  // of this warp's tokens, in lane 0
  for (int64_t t = begin + warp; t < end; t += kBalanceWarps) {
    const float* const s = a.scores + t * a.e_n;
    float sum = 0, mixed = 0;
    for (int64_t e = lane; e < a.e_n; e += 32) {
      sum += s[e];
      mixed = fmaf(static_cast<float>(counts[e]) * unit, s[e], mixed);
    }
    sum = warp_sum(sum);
    mixed = warp_sum(mixed) / sum;
    if (lane == 0) loss += mixed;
    for (int64_t e = lane; e < a.e_n; e += 32)
      a.dscores[t * a.e_n + e] = a.weight / rows * (static_cast<float>(counts[e]) * unit - mixed) / sum;
  }
  loss = block_sum(loss, shared);
  if (threadIdx.x == 0) a.losses[blockIdx.x] = end > begin ? a.weight * loss / rows : 0.0f;
}

__global__ void add_losses_kernel(const float* losses, float* loss, int64_t n) {
  float sum = 0;
  for (int64_t s = 0; s < n; ++s) sum += losses[s];
  loss[0] += sum;
}

}  // namespace

void moe_route(Context& ctx, const MoeRoute& op) {
  const Route a{data<const float>(op.logits),
                data<const float>(op.bias),
                data<float>(op.scores),
                data<int32_t>(op.experts),
                data<float>(op.weights),
                op.logits.shape[0],
                op.logits.shape[1],
                op.experts.shape[1],
                op.groups,
                op.top_groups,
                op.softmax,
                op.normalize,
                op.scale};
  launch(ctx, "moe_route", route_kernel, blocks_for(a.rows, kWarps), kWarps * 32,
         static_cast<size_t>(kWarps * (a.e_n + 2 * a.groups)) * sizeof(float), a);
}

void moe_route_backward(Context& ctx, const MoeRouteBackward& op) {
  const RouteBackward a{data<const float>(op.scores),
                        data<const int32_t>(op.experts),
                        data<const float>(op.dweights),
                        data<const float>(op.dscores),
                        data<float>(op.dlogits),
                        op.scores.shape[0],
                        op.scores.shape[1],
                        op.experts.shape[1],
                        op.softmax,
                        op.normalize,
                        op.scale};
  launch(ctx, "moe_route_backward", route_backward_kernel, blocks_for(a.rows, kWarps), kWarps * 32, 0, a);
}

void moe_balance_loss(Context& ctx, const MoeBalanceLoss& op) {
  const int64_t sequences = op.offsets.shape[0] - 1;
  Scratch scratch(ctx);
  const Balance a{data<const float>(op.scores),
                  data<const int32_t>(op.offsets),
                  data<float>(op.dscores),
                  scratch.floats(sequences),
                  op.scores.shape[1],
                  op.k,
                  op.weight};
  launch(ctx, "moe_balance", balance_kernel, static_cast<unsigned>(sequences), kBlock, static_cast<size_t>(a.e_n) * sizeof(int),
         a);
  launch(ctx, "add_losses", add_losses_kernel, 1, 1, 0, a.losses, data<float>(op.loss), sequences);
}

}  // namespace r1::cuda
