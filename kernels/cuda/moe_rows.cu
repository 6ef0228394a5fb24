// Rows on their way to experts and back: MoeSort, MoeLoad, MoeBiasUpdate, MoeCombine and its backward.
// Legend: E: experts, k: those of a token, M = T k assignments.
#include "kernels/cuda/device_code.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

using IntShared = BlockShared<int, kBlock>;

// ---- a stable counting sort: a block an expert
// -------------------------------------------------------------------------------

// counts[e]: assignments of expert e.
__global__ void count_kernel(const int32_t* experts, int32_t* counts, int64_t m_n) {
  R1_SHARED(IntShared, shared);
  int n = 0;
  for (int64_t a = threadIdx.x; a < m_n; a += kBlock) n += experts[a] == static_cast<int>(blockIdx.x) ? 1 : 0;
  n = block_sum(n, shared);
  if (threadIdx.x == 0) counts[blockIdx.x] = n;
}

__global__ void offsets_kernel(const int32_t* counts, int32_t* offsets, int64_t e_n) {
  int32_t sum = 0;
  for (int64_t e = 0; e < e_n; ++e) {
    offsets[e] = sum;
    sum += counts[e];
  }
  offsets[e_n] = sum;
}

__global__ void place_kernel(const int32_t* experts, const int32_t* offsets, int32_t* slots, int32_t* places, int64_t m_n) {
  R1_SHARED(IntShared, shared);
  int next = offsets[blockIdx.x];
  for (int64_t a0 = 0; a0 < m_n; a0 += kBlock) {
    const int64_t a = a0 + threadIdx.x;
    const bool mine = a < m_n && experts[a] == static_cast<int>(blockIdx.x);
    const auto scanned = block_scan(mine ? 1 : 0, 0, shared, [](int x, int y) { return x + y; });
    if (mine) {
      slots[next + scanned.before] = static_cast<int32_t>(a);
      places[a] = next + scanned.before;
    }
    next += scanned.all;
  }
}

__global__ void load_kernel(const int32_t* offsets, float* load, int64_t e_n) {
  const int64_t e = global_index();
  if (e < e_n) load[e] += static_cast<float>(offsets[e + 1] - offsets[e]);
}

__global__ void bias_kernel(float* bias, const float* load, float rate, int64_t e_n) {
  const int64_t at = global_index();
  if (at >= e_n) return;
  double sum = 0;
  for (int64_t e = 0; e < e_n; ++e) sum += static_cast<double>(load[e]);
  const double mean = sum / static_cast<double>(e_n), own = load[at];
  bias[at] += rate * (mean > own ? 1.0f : mean < own ? -1.0f : 0.0f);
}

// ---- back to tokens
// --------------------------------------------------------------------------------------------------------------

template <class E>
__global__ void combine_kernel(const E* z, const int32_t* places, const float* weights, E* y, int64_t n, int64_t k_n, int64_t d,
                               bool accumulate) {
  const int64_t at = global_index();
  if (at >= n) return;
  const int64_t t = at / d, i = at % d;
  float sum = accumulate ? widen(y[at]) : 0.0f;
  for (int64_t j = t * k_n; j < (t + 1) * k_n; ++j) {
    const float x = widen(z[places[j] * d + i]);
    sum = weights != nullptr ? fmaf(weights[j], x, sum) : sum + x;
  }
  y[at] = narrow<E>(sum);
}

// A warp an assignment.
template <class E>
__global__ void combine_backward_kernel(const E* dy, const E* z, const int32_t* places, const float* weights, E* dz,
                                        float* dweights, int64_t m_n, int64_t k_n, int64_t d) {
  const int lane = threadIdx.x % 32;
  const int64_t a = static_cast<int64_t>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
  if (a >= m_n) return;
  const E *const g = dy + a / k_n * d, *const x = z + places[a] * d;
  E* const to = dz + places[a] * d;
  const float w = weights != nullptr ? weights[a] : 1.0f;
  float sum = 0;
  for (int64_t i = lane; i < d; i += 32) {
    sum = fmaf(widen(g[i]), widen(x[i]), sum);
    to[i] = narrow<E>(w * widen(g[i]));
  }
  sum = warp_sum(sum);
  if (dweights != nullptr && lane == 0) dweights[a] = sum;
}

}  // namespace

void moe_sort(Context& ctx, const MoeSort& op) {
  const int64_t m = op.experts.size(), e = op.offsets.shape[0] - 1;
  Scratch scratch(ctx);
  int32_t* const counts = scratch.ints(e);
  const auto* const experts = data<const int32_t>(op.experts);
  auto* const offsets = data<int32_t>(op.offsets);
  launch(ctx, "moe_count", count_kernel, static_cast<unsigned>(e), kBlock, 0, experts, counts, m);
  launch(ctx, "moe_offsets", offsets_kernel, 1, 1, 0, counts, offsets, e);
  launch(ctx, "moe_place", place_kernel, static_cast<unsigned>(e), kBlock, 0, experts, offsets, data<int32_t>(op.slots),
         data<int32_t>(op.places), m);
}

void moe_load(Context& ctx, const MoeLoad& op) {
  const int64_t e = op.load.size();
  launch(ctx, "moe_load", load_kernel, blocks_for(e), kBlock, 0, data<const int32_t>(op.offsets), data<float>(op.load), e);
}

void moe_bias_update(Context& ctx, const MoeBiasUpdate& op) {
  const int64_t e = op.load.size();
  launch(ctx, "moe_bias", bias_kernel, blocks_for(e), kBlock, 0, data<float>(op.bias), data<const float>(op.load), op.rate, e);
}

void moe_combine(Context& ctx, const MoeCombine& op) {
  const int64_t n = op.y.size(), k = op.places.shape[1], d = op.y.shape[1];
  with_float(op.y, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "moe_combine", combine_kernel<E>, blocks_for(n), kBlock, 0, data<const E>(op.z), data<const int32_t>(op.places),
           data<const float>(op.weights), data<E>(op.y), n, k, d, op.accumulate);
  });
}

void moe_combine_backward(Context& ctx, const MoeCombineBackward& op) {
  const int64_t m = op.places.size(), k = op.places.shape[1], d = op.dy.shape[1];
  with_float(op.dy, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "moe_combine_backward", combine_backward_kernel<E>, blocks_for(m, kBlock / 32), kBlock, 0, data<const E>(op.dy),
           data<const E>(op.z), data<const int32_t>(op.places), data<const float>(op.weights), data<E>(op.dz),
           data<float>(op.dweights), m, k, d);
  });
}

}  // namespace r1::cuda
