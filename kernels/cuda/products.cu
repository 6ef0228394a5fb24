// Linear, GroupedLinear, their backwards and Gemm: one plain tiled product, for f32 and mixed types (products_mma.cu and
// products_wgmma.cu have the bf16 ones), and which of them it is.
//
// Every element of a result is one chain of fused multiply-adds in f32, in order of the summed index from 0, whatever tile it
// is in: so a row's bits depend on nothing but the row and the weights, and a grouped row has a dense row's bits. Legend: a
// result is [M, N], the summed index runs over `depth`.
#include "kernels/cuda/products.h"

#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

constexpr int kTile = 64, kStep = 16, kEach = 4, kThreads = (kTile / kEach) * (kTile / kEach);

struct Tiles {
  float a[kStep][kTile + 4], b[kStep][kTile + 4];
};

// This thread's elements of the tile: rows kEach * (threadIdx / 16) + i, columns kEach * (threadIdx % 16) + j.
struct Sums {
  float s[kEach][kEach];
};
__device__ inline int own_row(int i) { return static_cast<int>(threadIdx.x) / (kTile / kEach) * kEach + i; }
__device__ inline int own_column(int j) { return static_cast<int>(threadIdx.x) % (kTile / kEach) * kEach + j; }

// a(m, k), b(k, n): the element as f32, 0 outside of the operand; m, n count within the tile. kAlongA, kAlongB: whether memory
// runs along k (it decides who loads what, not what is summed).
template <bool kAlongA, bool kAlongB, class A, class B>
__device__ Sums multiply(int64_t depth, Tiles& tiles, A a, B b) {
  Sums r;
  R1_UNROLL for (int i = 0; i < kEach; ++i) R1_UNROLL for (int j = 0; j < kEach; ++j) r.s[i][j] = 0;
  for (int64_t k0 = 0; k0 < depth; k0 += kStep) {
    for (int at = static_cast<int>(threadIdx.x); at < kTile * kStep; at += kThreads) {
      const int ma = kAlongA ? at / kStep : at % kTile, ka = kAlongA ? at % kStep : at / kTile;
      const int nb = kAlongB ? at / kStep : at % kTile, kb = kAlongB ? at % kStep : at / kTile;
      tiles.a[ka][ma] = k0 + ka < depth ? a(ma, k0 + ka) : 0;
      tiles.b[kb][nb] = k0 + kb < depth ? b(k0 + kb, nb) : 0;
    }
    __syncthreads();
    R1_UNROLL for (int k = 0; k < kStep; ++k) {
      float x[kEach], w[kEach];
      R1_UNROLL for (int i = 0; i < kEach; ++i) x[i] = tiles.a[k][own_row(i)], w[i] = tiles.b[k][own_column(i)];
      R1_UNROLL for (int i = 0; i < kEach; ++i) R1_UNROLL for (int j = 0; j < kEach; ++j) r.s[i][j] =
          fmaf(x[i], w[j], r.s[i][j]);
    }
    __syncthreads();
  }
  return r;
}

// Calls f(m, n, sum) for this thread's elements within m_n x n_n of the tile.
template <class F>
__device__ void each_sum(const Sums& r, int64_t m_n, int64_t n_n, F f) {
  for (int i = 0; i < kEach; ++i)
    for (int j = 0; j < kEach; ++j)
      if (own_row(i) < m_n && own_column(j) < n_n) f(own_row(i), own_column(j), r.s[i][j]);
}

dim3 tile_grid(int64_t m, int64_t n, int64_t parts = 1) {
  return {blocks_for(n, kTile), blocks_for(m, kTile), static_cast<unsigned>(parts)};
}
__device__ inline int64_t tile_row() { return static_cast<int64_t>(blockIdx.y) * kTile; }
__device__ inline int64_t tile_column() { return static_cast<int64_t>(blockIdx.x) * kTile; }

// ---- dense
// ----------------------------------------------------------------------------------------------------------------------

template <class E, class Y>
__global__ void linear_kernel(Rows<const E> x, const E* w, const E* bias, Rows<Y> y, int64_t t_n, int64_t n_n, int64_t k_n) {
  R1_SHARED(Tiles, tiles);
  const int64_t t0 = tile_row(), n0 = tile_column();
  const Sums r = multiply<true, true>(
      k_n, tiles, [&](int m, int64_t k) { return t0 + m < t_n ? widen(x.at(t0 + m)[k]) : 0.0f; },
      [&](int64_t k, int n) { return n0 + n < n_n ? widen(w[(n0 + n) * k_n + k]) : 0.0f; });
  each_sum(r, t_n - t0, n_n - n0, [&](int m, int n, float sum) {
    y.at(t0 + m)[n0 + n] = narrow<Y>(bias != nullptr ? sum + widen(bias[n0 + n]) : sum);
  });
}

// dx[t, k] (+)= sum_n dy[t, n] w[n, k]
template <class G, class E>
__global__ void backward_input_kernel(Rows<const G> dy, const E* w, Rows<E> dx, int64_t t_n, int64_t n_n, int64_t k_n,
                                      bool accumulate) {
  R1_SHARED(Tiles, tiles);
  const int64_t t0 = tile_row(), k0 = tile_column();
  const Sums r = multiply<true, false>(
      n_n, tiles, [&](int m, int64_t n) { return t0 + m < t_n ? widen(dy.at(t0 + m)[n]) : 0.0f; },
      [&](int64_t n, int k) { return k0 + k < k_n ? widen(w[n * k_n + k0 + k]) : 0.0f; });
  each_sum(r, t_n - t0, k_n - k0, [&](int m, int k, float sum) {
    E& to = dx.at(t0 + m)[k0 + k];
    to = narrow<E>(accumulate ? widen(to) + sum : sum);
  });
}

// dw[n, k] += sum_t dy[t, n] x[t, k]
template <class G, class E>
__global__ void backward_weight_kernel(Rows<const G> dy, Rows<const E> x, float* dw, int64_t t_n, int64_t n_n, int64_t k_n) {
  R1_SHARED(Tiles, tiles);
  const int64_t n0 = tile_row(), k0 = tile_column();
  const Sums r = multiply<false, false>(
      t_n, tiles, [&](int n, int64_t t) { return n0 + n < n_n ? widen(dy.at(t)[n0 + n]) : 0.0f; },
      [&](int64_t t, int k) { return k0 + k < k_n ? widen(x.at(t)[k0 + k]) : 0.0f; });
  each_sum(r, n_n - n0, k_n - k0, [&](int n, int k, float sum) { dw[(n0 + n) * k_n + k0 + k] += sum; });
}

// to[part, n] (+)= sum of dy[t, n] over the `rows` rows of a part, in order
template <class G>
__global__ void column_sums_kernel(Rows<const G> dy, float* to, int64_t t_n, int64_t n_n, int64_t rows, bool add) {
  const int64_t n = global_index(), first = blockIdx.y * rows, end = first + rows < t_n ? first + rows : t_n;
  if (n >= n_n) return;
  float sum = 0;
  for (int64_t t = first; t < end; ++t) sum += widen(dy.at(t)[n]);
  float& result = to[blockIdx.y * n_n + n];
  result = add ? result + sum : sum;
}
// db[n] += sum_t dy[t, n], in parts of kSumRows rows, joined in order.
template <class G>
void add_column_sums(Context& ctx, const View& dy, const View& db) {
  constexpr int64_t kSumRows = 128;
  const int64_t t = dy.shape[0], n = dy.shape[1], parts = (t + kSumRows - 1) / kSumRows;
  Scratch scratch(ctx);
  float* const sums = scratch.floats(parts * n);
  launch(ctx, "column_sums", column_sums_kernel<G>, dim3(blocks_for(n), static_cast<unsigned>(parts)), kBlock, 0,
         rows_of<const G>(dy), sums, t, n, kSumRows, false);
  launch(ctx, "column_sums_of_parts", column_sums_kernel<float>, blocks_for(n), kBlock, 0, Rows<const float>{sums, n},
         data<float>(db), parts, n, parts, true);
}

// ---- grouped by expert
// ------------------------------------------------------------------------------------------------------------

dim3 expert_grid(int64_t m, int64_t n, int64_t experts) { return {blocks_for(n, kTile), expert_tiles(m, kTile, experts)}; }

template <class E>
__global__ void grouped_kernel(Rows<const E> x, Places places, const E* w, const int32_t* offsets, E* y, int experts,
                               int64_t n_n, int64_t k_n) {
  R1_SHARED(Tiles, tiles);
  const ExpertTile tile = expert_tile<kTile>(offsets, experts);
  if (tile.rows == 0) return;
  const int64_t n0 = tile_column();
  const E* const we = w + tile.expert * n_n * k_n;
  const Sums r = multiply<true, true>(
      k_n, tiles, [&](int m, int64_t k) { return m < tile.rows ? widen(x.at(places.row(tile.first + m))[k]) : 0.0f; },
      [&](int64_t k, int n) { return n0 + n < n_n ? widen(we[(n0 + n) * k_n + k]) : 0.0f; });
  each_sum(r, tile.rows, n_n - n0, [&](int m, int n, float sum) { y[(tile.first + m) * n_n + n0 + n] = narrow<E>(sum); });
}

template <class E>
__global__ void grouped_backward_input_kernel(const E* dy, const E* w, const int32_t* offsets, E* dx, int experts, int64_t n_n,
                                              int64_t k_n) {
  R1_SHARED(Tiles, tiles);
  const ExpertTile tile = expert_tile<kTile>(offsets, experts);
  if (tile.rows == 0) return;
  const int64_t k0 = tile_column();
  const E* const we = w + tile.expert * n_n * k_n;
  const Sums r = multiply<true, false>(
      n_n, tiles, [&](int m, int64_t n) { return m < tile.rows ? widen(dy[(tile.first + m) * n_n + n]) : 0.0f; },
      [&](int64_t n, int k) { return k0 + k < k_n ? widen(we[n * k_n + k0 + k]) : 0.0f; });
  each_sum(r, tile.rows, k_n - k0, [&](int m, int k, float sum) { dx[(tile.first + m) * k_n + k0 + k] = narrow<E>(sum); });
}

template <class E>
__global__ void grouped_backward_weight_kernel(const E* dy, Rows<const E> x, Places places, const int32_t* offsets, float* dw,
                                               int64_t n_n, int64_t k_n) {
  R1_SHARED(Tiles, tiles);
  const int64_t first = offsets[blockIdx.z], rows = offsets[blockIdx.z + 1] - first, n0 = tile_row(), k0 = tile_column();
  const Sums r = multiply<false, false>(
      rows, tiles, [&](int n, int64_t t) { return n0 + n < n_n ? widen(dy[(first + t) * n_n + n0 + n]) : 0.0f; },
      [&](int64_t t, int k) { return k0 + k < k_n ? widen(x.at(places.row(first + t))[k0 + k]) : 0.0f; });
  float* const to = dw + blockIdx.z * n_n * k_n;
  each_sum(r, n_n - n0, k_n - k0, [&](int n, int k, float sum) { to[(n0 + n) * k_n + k0 + k] += sum; });
}

// ---- for optimizers
// ------------------------------------------------------------------------------------------------------------------

struct Matrix {
  const float* p;
  int64_t row, column;  // strides
  __device__ float at(int64_t r, int64_t c) const { return p[r * row + c * column]; }
};
Matrix matrix_of(const View& v, bool transposed) {
  return transposed ? Matrix{data<const float>(v), 1, v.stride[0]} : Matrix{data<const float>(v), v.stride[0], 1};
}

__global__ void gemm_kernel(Matrix a, Matrix b, Rows<float> c, int64_t m_n, int64_t n_n, int64_t k_n, float alpha, float beta) {
  R1_SHARED(Tiles, tiles);
  const int64_t m0 = tile_row(), n0 = tile_column();
  const Sums r = multiply<true, false>(
      k_n, tiles, [&](int m, int64_t k) { return m0 + m < m_n ? a.at(m0 + m, k) : 0.0f; },
      [&](int64_t k, int n) { return n0 + n < n_n ? b.at(k, n0 + n) : 0.0f; });
  each_sum(r, m_n - m0, n_n - n0, [&](int m, int n, float sum) {
    float& to = c.at(m0 + m)[n0 + n];
    to = beta != 0 ? alpha * sum + beta * to : alpha * sum;
  });
}

bool by_tensor_cores(const View& a, const View& b) {
  return a.dtype == DType::bf16 && b.dtype == DType::bf16 && use_tensor_cores();
}
// Of those. Nothing summed is zeros, and no step for CUTLASS.
template <class Op>
void by_mma_or_wgmma(Context& ctx, const Op& op, int64_t depth, void (*mma)(Context&, const Op&),
                     void (*wgmma)(Context&, const Op&)) {
  (products() == Products::cutlass && depth > 0 ? wgmma : mma)(ctx, op);
}

// A thread eight elements; `parts` of them make a row.
__global__ void round_kernel(Rows<const float> x, bf16* y, int64_t rows, int64_t n, int64_t parts, bool vectors) {
  const int64_t at = global_index(), row = at / parts, c = at % parts * 8, left = n - c;
  if (row >= rows) return;
  const Eight<float> in = load_eight(x.at(row) + c, left, vectors);
  Eight<bf16> out;
  R1_UNROLL for (int e = 0; e < 8; ++e) out.e[e] = narrow<bf16>(in.e[e]);
  store_eight(y + row * n + c, out, left, vectors);
}
// Gradients as they meet `other`: those of logits are f32, and are rounded to bf16 where that is what tensor cores need. In the
// arena.
View to_meet(Context& ctx, const View& dy, const View& other) {
  if (dy.dtype != DType::f32 || other.dtype != DType::bf16 || !use_tensor_cores()) return dy;
  const int64_t rows = dy.shape[0], n = dy.shape[1], parts = (n + 7) / 8;
  const View y = ctx.arena.alloc(DType::bf16, {rows, n});
  launch(ctx, "round_gradients", round_kernel, blocks_for(rows * parts), kBlock, 0, rows_of<const float>(dy), data<bf16>(y),
         rows, n, parts, vectors(dy) && vectors(y));
  return y;
}

}  // namespace

const char* name_of(Products products) {
  constexpr const char* kNames[] = {"plain", "mma", "cutlass"};
  return kNames[static_cast<int>(products)];
}

Products products() {
  static const Products chosen = [] {
    const char* const text = std::getenv("R1_CUDA_PRODUCTS");
    const std::string_view asked = text != nullptr && *text != 0 ? text : "mma";
    for (const Products p : {Products::plain, Products::mma, Products::cutlass}) {
      if (asked != name_of(p)) continue;
      if (p == Products::cutlass && !compiled_with_cutlass())
        throw bad_input("R1_CUDA_PRODUCTS is 'cutlass', and this plugin was built without CUTLASS", {},
                        "mma or plain, or a build with R1_CUTLASS_INCLUDE (docs/gpu.md)");
      return p;
    }
    throw bad_input("R1_CUDA_PRODUCTS is '" + std::string(asked) + "'", {}, "mma, cutlass or plain");
  }();
  return chosen;
}
bool use_tensor_cores() { return products() != Products::plain; }

void linear(Context& ctx, const Linear& op) {
  const int64_t t = op.x.shape[0], k = op.x.shape[1], n = op.w.shape[0];
  if (by_tensor_cores(op.x, op.w)) return by_mma_or_wgmma(ctx, op, k, linear_mma, linear_wgmma);
  with_float(op.x, [&](auto e) {
    using E = decltype(e);
    const auto go = [&](auto y) {
      using Y = decltype(y);
      launch(ctx, "linear", linear_kernel<E, Y>, tile_grid(t, n), kThreads, 0, rows_of<const E>(op.x), data<const E>(op.w),
             data<const E>(op.bias), rows_of<Y>(op.y), t, n, k);
    };
    op.y.dtype == op.x.dtype ? go(e) : go(float{});
  });
}

void linear_backward_input(Context& ctx, const LinearBackwardInput& op) {
  const int64_t t = op.dy.shape[0], n = op.w.shape[0], k = op.w.shape[1];
  const Scratch scratch(ctx);
  if (const View dy = to_meet(ctx, op.dy, op.w); by_tensor_cores(dy, op.w))
    return by_mma_or_wgmma(ctx, LinearBackwardInput{dy, op.w, op.dx, op.accumulate}, n, linear_backward_input_mma,
                           linear_backward_input_wgmma);
  with_float(op.w, [&](auto e) {
    using E = decltype(e);
    const auto go = [&](auto g) {
      using G = decltype(g);
      launch(ctx, "linear_backward_input", backward_input_kernel<G, E>, tile_grid(t, k), kThreads, 0, rows_of<const G>(op.dy),
             data<const E>(op.w), rows_of<E>(op.dx), t, n, k, op.accumulate);
    };
    op.dy.dtype == op.w.dtype ? go(e) : go(float{});
  });
}

void linear_backward_weight(Context& ctx, const LinearBackwardWeight& op) {
  const int64_t t = op.dy.shape[0], n = op.dw.shape[0], k = op.dw.shape[1];
  const Scratch scratch(ctx);
  const View dy = to_meet(ctx, op.dy, op.x);
  with_float(op.x, [&](auto e) {
    using E = decltype(e);
    const auto go = [&](auto g) {
      using G = decltype(g);
      if (by_tensor_cores(dy, op.x))
        by_mma_or_wgmma(ctx, LinearBackwardWeight{dy, op.x, op.dw, View{}}, t, linear_backward_weight_mma,
                        linear_backward_weight_wgmma);
      else
        launch(ctx, "linear_backward_weight", backward_weight_kernel<G, E>, tile_grid(n, k), kThreads, 0,
               rows_of<const G>(op.dy), rows_of<const E>(op.x), data<float>(op.dw), t, n, k);
      if (op.db) add_column_sums<G>(ctx, op.dy, op.db);
    };
    op.dy.dtype == op.x.dtype ? go(e) : go(float{});
  });
}

void grouped_linear(Context& ctx, const GroupedLinear& op) {
  const int64_t experts = op.w.shape[0], n = op.w.shape[1], k = op.w.shape[2];
  if (by_tensor_cores(op.x, op.w)) return by_mma_or_wgmma(ctx, op, k, grouped_linear_mma, grouped_linear_wgmma);
  with_float(op.x, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "grouped_linear", grouped_kernel<E>, expert_grid(op.y.shape[0], n, experts), kThreads, 0,
           rows_of<const E>(op.x), places_of(op.slots, op.copies), data<const E>(op.w), data<const int32_t>(op.offsets),
           data<E>(op.y), experts, n, k);
  });
}

void grouped_linear_backward_input(Context& ctx, const GroupedLinearBackwardInput& op) {
  const int64_t experts = op.w.shape[0], n = op.w.shape[1], k = op.w.shape[2];
  if (by_tensor_cores(op.dy, op.w))
    return by_mma_or_wgmma(ctx, op, n, grouped_linear_backward_input_mma, grouped_linear_backward_input_wgmma);
  with_float(op.w, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "grouped_linear_backward_input", grouped_backward_input_kernel<E>, expert_grid(op.dy.shape[0], k, experts),
           kThreads, 0, data<const E>(op.dy), data<const E>(op.w), data<const int32_t>(op.offsets), data<E>(op.dx), experts, n,
           k);
  });
}

void grouped_linear_backward_weight(Context& ctx, const GroupedLinearBackwardWeight& op) {
  const int64_t experts = op.dw.shape[0], n = op.dw.shape[1], k = op.dw.shape[2];
  if (by_tensor_cores(op.dy, op.x))
    return by_mma_or_wgmma(ctx, op, op.dy.shape[0], grouped_linear_backward_weight_mma, grouped_linear_backward_weight_wgmma);
  with_float(op.x, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "grouped_linear_backward_weight", grouped_backward_weight_kernel<E>, tile_grid(n, k, experts), kThreads, 0,
           data<const E>(op.dy), rows_of<const E>(op.x), places_of(op.slots, op.copies), data<const int32_t>(op.offsets),
           data<float>(op.dw), n, k);
  });
}

void gemm(Context& ctx, const Gemm& op) {
  const int64_t m = op.c.shape[0], n = op.c.shape[1], k = op.a.shape[op.trans_a ? 0 : 1];
  launch(ctx, "gemm", gemm_kernel, tile_grid(m, n), kThreads, 0, matrix_of(op.a, op.trans_a), matrix_of(op.b, op.trans_b),
         rows_of<float>(op.c), m, n, k, op.alpha, op.beta);
}

}  // namespace r1::cuda
