// RmsNorm, its backward and SumSquares.
#include "kernels/cuda/device_code.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

constexpr int kWarps = 4;  // rows of a block
constexpr int64_t kRowBlock = 64, kSumBlock = int64_t{1} << 16;

// A warp a row; lane l has elements [8 l, 8 l + 8) of every 256, and sums them in order.
template <class E>
__global__ void rms_norm_kernel(Heads<const E> x, const E* w, Heads<E> y, float* rstd, int64_t rows, int64_t heads, int64_t d,
                                float eps, bool vectors) {
  const int lane = threadIdx.x % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const E* const in = x.at(row / heads, row % heads);
  E* const out = y.at(row / heads, row % heads);
  float sum = 0;
  for (int64_t i = 8 * lane; i < d; i += 256) {
    const Eight<E> part = load_eight(in + i, d - i, vectors);
    R1_UNROLL for (int e = 0; e < 8; ++e) sum = fmaf(widen(part.e[e]), widen(part.e[e]), sum);
  }
  sum = warp_sum(sum);
  const float r = 1.0f / sqrtf(sum / static_cast<float>(d) + eps);
  if (rstd != nullptr && lane == 0) rstd[row] = r;
  for (int64_t i = 8 * lane; i < d; i += 256) {
    Eight<E> part = load_eight(in + i, d - i, vectors);
    const Eight<E> by = load_eight(w + i, d - i, vectors);
    R1_UNROLL for (int e = 0; e < 8; ++e) part.e[e] = narrow<E>(widen(narrow<E>(widen(part.e[e]) * r)) * widen(by.e[e]));
    store_eight(out + i, part, d - i, vectors);
  }
}

// Each block's rows one after the other: partial[block, d] = sum over them of dy n, in order, with n = x rstd.
template <class E>
__global__ void norm_weight_kernel(Heads<const E> x, const float* rstd, Heads<const E> dy, float* partial, int64_t rows,
                                   int64_t heads, int64_t d) {
  const int64_t i = static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x, first = blockIdx.x * kRowBlock;
  if (i >= d) return;
  float sum = 0;
  for (int64_t row = first; row < first + kRowBlock && row < rows; ++row)
    sum += widen(dy.at(row / heads, row % heads)[i]) * (widen(x.at(row / heads, row % heads)[i]) * rstd[row]);
  partial[blockIdx.x * d + i] = sum;
}

// to[i] += sum over blocks, in order, of partial[block, i]
__global__ void add_partials_kernel(const float* partial, float* to, int64_t blocks, int64_t d) {
  const int64_t i = global_index();
  if (i >= d) return;
  float sum = 0;
  for (int64_t b = 0; b < blocks; ++b) sum += partial[b * d + i];
  to[i] += sum;
}

// dx = rstd (dy w - n mean_d(dy w n)).  dx may be dy.
template <class E>
__global__ void norm_input_kernel(Heads<const E> x, const E* w, const float* rstd, Heads<const E> dy, Heads<E> dx, int64_t rows,
                                  int64_t heads, int64_t d, bool accumulate, bool vectors) {
  const int lane = threadIdx.x % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const E* const in = x.at(row / heads, row % heads);
  const E* const g = dy.at(row / heads, row % heads);
  E* const out = dx.at(row / heads, row % heads);
  const float r = rstd[row];
  struct Factors {
    Eight<E> in, g, w;
  };
  const auto load = [&](int64_t i) -> Factors {
    return {load_eight(in + i, d - i, vectors), load_eight(g + i, d - i, vectors), load_eight(w + i, d - i, vectors)};
  };
  float sum = 0;
  for (int64_t i = 8 * lane; i < d; i += 256) {
    const Factors f = load(i);
    R1_UNROLL for (int e = 0; e < 8; ++e) sum = fmaf(widen(f.g.e[e]) * widen(f.w.e[e]), widen(f.in.e[e]) * r, sum);
  }
  const float mean = warp_sum(sum) / static_cast<float>(d);
  for (int64_t i = 8 * lane; i < d; i += 256) {
    const Factors f = load(i);
    Eight<E> to = accumulate ? load_eight<E>(out + i, d - i, vectors) : Eight<E>{};
    R1_UNROLL for (int e = 0; e < 8; ++e) {
      const float change = r * (widen(f.g.e[e]) * widen(f.w.e[e]) - widen(f.in.e[e]) * r * mean);
      to.e[e] = narrow<E>(accumulate ? widen(to.e[e]) + change : change);
    }
    store_eight(out + i, to, d - i, vectors);
  }
}

// partial[block] = sum of squares of its kSumBlock elements: thread t those at t, t + kBlock, ...
__global__ void square_sums_kernel(const float* x, float* partial, int64_t n) {
  using Shared = BlockShared<float, kBlock>;
  R1_SHARED(Shared, shared);
  const int64_t first = blockIdx.x * kSumBlock, end = first + kSumBlock < n ? first + kSumBlock : n;
  float sum = 0;
  for (int64_t i = first + threadIdx.x; i < end; i += kBlock) sum = fmaf(x[i], x[i], sum);
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}
// out (+)= sum of n partials, thread t those at t, t + kBlock, ...
__global__ void sum_partials_kernel(const float* partial, float* out, int64_t n, bool accumulate) {
  using Shared = BlockShared<float, kBlock>;
  R1_SHARED(Shared, shared);
  float sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kBlock) sum += partial[i];
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) out[0] = accumulate ? out[0] + sum : sum;
}

struct NormShape {
  int64_t rows, heads, d;
};
NormShape norm_shape(const View& x) {
  const int64_t heads = x.rank == 3 ? x.shape[1] : 1;
  return {x.shape[0] * heads, heads, x.shape[static_cast<size_t>(x.rank - 1)]};
}

}  // namespace

void rms_norm(Context& ctx, const RmsNorm& op) {
  const NormShape s = norm_shape(op.x);
  with_float(op.x, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "rms_norm", rms_norm_kernel<E>, blocks_for(s.rows, kWarps), kWarps * 32, 0, heads_of<const E>(op.x),
           data<const E>(op.w), heads_of<E>(op.y), data<float>(op.rstd), s.rows, s.heads, s.d, op.eps,
           vectors(op.x) && vectors(op.w) && vectors(op.y));
  });
}

void rms_norm_backward(Context& ctx, const RmsNormBackward& op) {
  const NormShape s = norm_shape(op.x);
  const int64_t blocks = (s.rows + kRowBlock - 1) / kRowBlock;
  Scratch scratch(ctx);
  float* const partial = scratch.floats(blocks * s.d);
  with_float(op.x, [&](auto e) {
    using E = decltype(e);
    // Before dx, which may lie on dy.
    launch(ctx, "norm_weight", norm_weight_kernel<E>, dim3(static_cast<unsigned>(blocks), blocks_for(s.d)), kBlock, 0,
           heads_of<const E>(op.x), data<const float>(op.rstd), heads_of<const E>(op.dy), partial, s.rows, s.heads, s.d);
    launch(ctx, "add_partials", add_partials_kernel, blocks_for(s.d), kBlock, 0, partial, data<float>(op.dw), blocks, s.d);
    launch(ctx, "norm_input", norm_input_kernel<E>, blocks_for(s.rows, kWarps), kWarps * 32, 0, heads_of<const E>(op.x),
           data<const E>(op.w), data<const float>(op.rstd), heads_of<const E>(op.dy), heads_of<E>(op.dx), s.rows, s.heads, s.d,
           op.accumulate, vectors(op.x) && vectors(op.w) && vectors(op.dy) && vectors(op.dx));
  });
}

void sum_squares(Context& ctx, const SumSquares& op) {
  const int64_t n = op.x.size(), blocks = (n + kSumBlock - 1) / kSumBlock;
  Scratch scratch(ctx);
  float* const partial = scratch.floats(blocks);
  launch(ctx, "square_sums", square_sums_kernel, static_cast<unsigned>(blocks), kBlock, 0, data<const float>(op.x), partial, n);
  launch(ctx, "sum_partials", sum_partials_kernel, 1, kBlock, 0, partial, data<float>(op.out), blocks, op.accumulate);
}

}  // namespace r1::cuda
