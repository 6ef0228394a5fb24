// Linear, GroupedLinear and their backwards in bf16 by tensor cores: one main loop for all.
//
// Every element of a result is one chain: m16n8k16 steps into one f32 accumulator, in order of the summed index from 0, zeros
// beyond its end. Which tile an element is in, and who stands beside it, is no part of that: so a row's bits depend on nothing
// but the row and the weights, few rows and many may take tiles of different sizes, and a grouped row has a dense row's bits.
//
// Legend: a result is [M, N], the summed index runs over `depth`. An operand lies `along` (depth is contiguous in memory: x and w
// of Linear) or `across` (its own index is: w of the input's gradient, both of the weight's); it is stored in shared memory as it
// lies, and ldmatrix transposes.
#include "kernels/cuda/mma.h"
#include "kernels/cuda/products.h"

namespace r1::cuda {
namespace {

constexpr int kStep = 32;  // of depth, a stage

// kWarpsM x kWarpsN warps, each of kMs x 16 rows and kNs x 16 columns of the tile.
template <int kWarpsM_, int kWarpsN_, int kMs_, int kNs_, int kStages_>
struct Shape {
  static constexpr int kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kMs = kMs_, kNs = kNs_, kStages = kStages_;
  static constexpr int kM = kWarpsM * kMs * 16, kN = kWarpsN * kNs * 16, kThreads = kWarpsM * kWarpsN * 32;
};
using Large = Shape<2, 4, 4, 2, 3>;   // 128 x 128
using Medium = Shape<2, 2, 1, 2, 4>;  // 32 x 64
using Small = Shape<1, 2, 1, 1, 4>;   // 16 x 32, for few rows: many blocks, each at its weights
constexpr int64_t kFewRows = 64, kSomeRows = 512;

// Elements of a stage of an operand with kSize of its own index.
template <int kSize, bool kAlong>
constexpr int kStageElements = kAlong ? kSize * (kStep + kPad) : kStep * (kSize + kPad);
template <class S, bool kAlongA, bool kAlongB>
constexpr size_t kSharedBytes =
    size_t{S::kStages} * (kStageElements<S::kM, kAlongA> + kStageElements<S::kN, kAlongB>) * sizeof(bf16);

// An operand of a block's tile. row(i): where row i of it lies - along: of its own index, counted within the tile; across: of
// depth - or null beyond its end. `first`, `end`: where the tile's columns begin and the operand's end; along they are depth's.
template <class Row>
struct Operand {
  Row row;
  int64_t first, end;
  bool vectors;  // rows are aligned to 16 bytes
};
template <class Row>
__device__ Operand<Row> operand(Row row, int64_t first, int64_t end, bool vectors) {
  return {row, first, end, vectors};
}

template <int kSize, bool kAlong, int kThreads, class Row>
__device__ void load_stage(bf16* to, const Operand<Row>& from, int64_t k0) {
  const int64_t row0 = kAlong ? 0 : k0, column0 = kAlong ? k0 : from.first;
  load_rows<kAlong ? kSize : kStep, kAlong ? kStep : kSize, kThreads>(to, from.end - column0, from.vectors,
                                                                      [&](int r) -> const bf16* {
                                                                        const bf16* const row = from.row(row0 + r);
                                                                        return row != nullptr ? row + column0 : nullptr;
                                                                      });
}

// The sums of a warp: of its 16-row part i and 8-column part j as mma's d.
template <class S>
struct Sums {
  float d[S::kMs][2 * S::kNs][4];
};

template <class S, bool kAlongA, bool kAlongB, class RowA, class RowB>
__device__ void multiply(Sums<S>& sums, int64_t depth, const Operand<RowA>& a, const Operand<RowB>& b) {
  constexpr int kA = kStageElements<S::kM, kAlongA>, kB = kStageElements<S::kN, kAlongB>;
  R1_DYNAMIC_SHARED(bf16, shared);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int m0 = warp / S::kWarpsN * S::kMs * 16, n0 = warp % S::kWarpsN * S::kNs * 16;
  const int matrix = lane / 8, line = lane % 8;
  R1_UNROLL for (int i = 0; i < S::kMs; ++i) R1_UNROLL for (int j = 0; j < 2 * S::kNs; ++j)
      R1_UNROLL for (int e = 0; e < 4; ++e) sums.d[i][j][e] = 0;

  const int steps = static_cast<int>((depth + kStep - 1) / kStep);
  const auto load = [&](int step) {
    bf16* const stage = shared + step % S::kStages * (kA + kB);
    load_stage<S::kM, kAlongA, S::kThreads>(stage, a, int64_t{step} * kStep);
    load_stage<S::kN, kAlongB, S::kThreads>(stage + kA, b, int64_t{step} * kStep);
  };
  for (int step = 0; step < S::kStages - 1; ++step) {
    if (step < steps) load(step);
    async_commit();
  }
  for (int step = 0; step < steps; ++step) {
    async_wait<S::kStages - 2>();
    __syncthreads();  // the stage is here, and nobody still reads the one that is loaded next
    if (step + S::kStages - 1 < steps) load(step + S::kStages - 1);
    async_commit();
    const bf16* const sa = shared + step % S::kStages * (kA + kB);
    const bf16* const sb = sa + kA;
    R1_UNROLL for (int k = 0; k < kStep; k += 16) {
      uint32_t ra[S::kMs][4], rb[S::kNs][4];
      R1_UNROLL for (int i = 0; i < S::kMs; ++i) {
        const int m = m0 + i * 16;
        if constexpr (kAlongA)
          load_matrices<false>(ra[i], sa + (m + matrix % 2 * 8 + line) * (kStep + kPad) + k + matrix / 2 * 8);
        else
          load_matrices<true>(ra[i], sa + (k + matrix / 2 * 8 + line) * (S::kM + kPad) + m + matrix % 2 * 8);
      }
      R1_UNROLL for (int j = 0; j < S::kNs; ++j) {
        const int n = n0 + j * 16;
        if constexpr (kAlongB)
          load_matrices<false>(rb[j], sb + (n + matrix / 2 * 8 + line) * (kStep + kPad) + k + matrix % 2 * 8);
        else
          load_matrices<true>(rb[j], sb + (k + matrix % 2 * 8 + line) * (S::kN + kPad) + n + matrix / 2 * 8);
      }
      R1_UNROLL for (int i = 0; i < S::kMs; ++i) R1_UNROLL for (int j = 0; j < S::kNs; ++j) {
        mma(sums.d[i][2 * j], ra[i], rb[j][0], rb[j][1]);
        mma(sums.d[i][2 * j + 1], ra[i], rb[j][2], rb[j][3]);
      }
    }
  }
}

// Calls f(m, n, sum) for this thread's elements within m_n x n_n of the tile.
template <class S, class F>
__device__ void each_sum(const Sums<S>& sums, int64_t m_n, int64_t n_n, F f) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int m0 = warp / S::kWarpsN * S::kMs * 16 + lane / 4, n0 = warp % S::kWarpsN * S::kNs * 16 + lane % 4 * 2;
  R1_UNROLL for (int i = 0; i < S::kMs; ++i) R1_UNROLL for (int j = 0; j < 2 * S::kNs; ++j)
      R1_UNROLL for (int e = 0; e < 4; ++e) {
    const int m = m0 + i * 16 + e / 2 * 8, n = n0 + j * 8 + e % 2;
    if (m < m_n && n < n_n) f(m, n, sums.d[i][j][e]);
  }
}

template <class S>
__device__ int64_t tile_row() {
  return static_cast<int64_t>(blockIdx.y) * S::kM;
}
template <class S>
__device__ int64_t tile_column() {
  return static_cast<int64_t>(blockIdx.x) * S::kN;
}

// ---- dense

template <class S, class Y>
__global__ void __launch_bounds__(S::kThreads) linear_kernel(Rows<const bf16> x, const bf16* w, const bf16* bias, Rows<Y> y,
                                                             int64_t t_n, int64_t n_n, int64_t k_n, bool vx, bool vw) {
  const int64_t t0 = tile_row<S>(), n0 = tile_column<S>();
  Sums<S> sums;
  multiply<S, true, true>(sums, k_n, operand([&](int64_t m) { return t0 + m < t_n ? x.at(t0 + m) : nullptr; }, 0, k_n, vx),
                          operand([&](int64_t n) { return n0 + n < n_n ? w + (n0 + n) * k_n : nullptr; }, 0, k_n, vw));
  each_sum(sums, t_n - t0, n_n - n0, [&](int m, int n, float sum) {
    y.at(t0 + m)[n0 + n] = narrow<Y>(bias != nullptr ? sum + widen(bias[n0 + n]) : sum);
  });
}

// dx[t, k] (+)= sum_n dy[t, n] w[n, k]
template <class S>
__global__ void __launch_bounds__(S::kThreads)
    backward_input_kernel(Rows<const bf16> dy, const bf16* w, Rows<bf16> dx, int64_t t_n, int64_t n_n, int64_t k_n, bool vdy,
                          bool vw, bool accumulate) {
  const int64_t t0 = tile_row<S>(), k0 = tile_column<S>();
  Sums<S> sums;
  multiply<S, true, false>(sums, n_n, operand([&](int64_t m) { return t0 + m < t_n ? dy.at(t0 + m) : nullptr; }, 0, n_n, vdy),
                           operand([&](int64_t n) { return n < n_n ? w + n * k_n : nullptr; }, k0, k_n, vw));
  each_sum(sums, t_n - t0, k_n - k0, [&](int m, int k, float sum) {
    bf16& to = dx.at(t0 + m)[k0 + k];
    to = narrow<bf16>(accumulate ? widen(to) + sum : sum);
  });
}

// dw[n, k] += sum_t dy[t, n] x[t, k]
template <class S>
__global__ void __launch_bounds__(S::kThreads)
    backward_weight_kernel(Rows<const bf16> dy, Rows<const bf16> x, float* dw, int64_t t_n, int64_t n_n, int64_t k_n, bool vdy,
                           bool vx) {
  const int64_t n0 = tile_row<S>(), k0 = tile_column<S>();
  Sums<S> sums;
  multiply<S, false, false>(sums, t_n, operand([&](int64_t t) { return t < t_n ? dy.at(t) : nullptr; }, n0, n_n, vdy),
                            operand([&](int64_t t) { return t < t_n ? x.at(t) : nullptr; }, k0, k_n, vx));
  each_sum(sums, n_n - n0, k_n - k0, [&](int n, int k, float sum) { dw[(n0 + n) * k_n + k0 + k] += sum; });
}

// ---- grouped by expert

template <class S>
__global__ void __launch_bounds__(S::kThreads)
    grouped_kernel(Rows<const bf16> x, Places places, const bf16* w, const int32_t* offsets, bf16* y, int experts, int64_t n_n,
                   int64_t k_n, bool vx, bool vw) {
  const ExpertTile tile = expert_tile<S::kM>(offsets, experts);
  if (tile.rows == 0) return;
  const int64_t n0 = tile_column<S>();
  const bf16* const we = w + tile.expert * n_n * k_n;
  Sums<S> sums;
  multiply<S, true, true>(
      sums, k_n, operand([&](int64_t m) { return m < tile.rows ? x.at(places.row(tile.first + m)) : nullptr; }, 0, k_n, vx),
      operand([&](int64_t n) { return n0 + n < n_n ? we + (n0 + n) * k_n : nullptr; }, 0, k_n, vw));
  each_sum(sums, tile.rows, n_n - n0, [&](int m, int n, float sum) { y[(tile.first + m) * n_n + n0 + n] = narrow<bf16>(sum); });
}

template <class S>
__global__ void __launch_bounds__(S::kThreads)
    grouped_backward_input_kernel(const bf16* dy, const bf16* w, const int32_t* offsets, bf16* dx, int experts, int64_t n_n,
                                  int64_t k_n, bool vdy, bool vw) {
  const ExpertTile tile = expert_tile<S::kM>(offsets, experts);
  if (tile.rows == 0) return;
  const int64_t k0 = tile_column<S>();
  const bf16* const we = w + tile.expert * n_n * k_n;
  Sums<S> sums;
  multiply<S, true, false>(
      sums, n_n, operand([&](int64_t m) { return m < tile.rows ? dy + (tile.first + m) * n_n : nullptr; }, 0, n_n, vdy),
      operand([&](int64_t n) { return n < n_n ? we + n * k_n : nullptr; }, k0, k_n, vw));
  each_sum(sums, tile.rows, k_n - k0,
           [&](int m, int k, float sum) { dx[(tile.first + m) * k_n + k0 + k] = narrow<bf16>(sum); });
}

template <class S>
__global__ void __launch_bounds__(S::kThreads)
    grouped_backward_weight_kernel(const bf16* dy, Rows<const bf16> x, Places places, const int32_t* offsets, float* dw,
                                   int64_t n_n, int64_t k_n, bool vdy, bool vx) {
  const int64_t first = offsets[blockIdx.z], rows = offsets[blockIdx.z + 1] - first, n0 = tile_row<S>(), k0 = tile_column<S>();
  Sums<S> sums;
  multiply<S, false, false>(sums, rows,
                            operand([&](int64_t t) { return t < rows ? dy + (first + t) * n_n : nullptr; }, n0, n_n, vdy),
                            operand([&](int64_t t) { return t < rows ? x.at(places.row(first + t)) : nullptr; }, k0, k_n, vx));
  float* const to = dw + blockIdx.z * n_n * k_n;
  each_sum(sums, n_n - n0, k_n - k0, [&](int n, int k, float sum) { to[(n0 + n) * k_n + k0 + k] += sum; });
}

// ---- launches

// Calls f(Large{}), f(Medium{}) or f(Small{}): a choice of speed alone. For weights and their gradients, whose depth is of rows,
// Large is right even where it leaves a part of the card idle: smaller tiles read more for each product.
template <class F>
void with_shape(int64_t rows, F&& f) {
  rows <= kFewRows ? f(Small{}) : f(Large{});
}
// For results of so many rows and columns, whose time is that of reading the weights as long as rows are not many.
template <class F>
void with_shape(Context& ctx, int64_t rows, int64_t columns, F&& f) {
  const int64_t blocks = int64_t{blocks_for(rows, Large::kM)} * blocks_for(columns, Large::kN);
  rows > kFewRows && rows <= kSomeRows && blocks < multiprocessors_of(ctx) ? f(Medium{}) : with_shape(rows, f);
}
template <class S>
dim3 grid_of(int64_t m, int64_t n, int64_t parts = 1) {
  return {blocks_for(n, S::kN), blocks_for(m, S::kM), static_cast<unsigned>(parts)};
}

}  // namespace

void linear_mma(Context& ctx, const Linear& op) {
  const int64_t t = op.x.shape[0], k = op.x.shape[1], n = op.w.shape[0];
  const auto go = [&](auto y) {
    using Y = decltype(y);
    with_shape(ctx, t, n, [&](auto s) {
      using S = decltype(s);
      launch(ctx, "linear_mma", linear_kernel<S, Y>, grid_of<S>(t, n), S::kThreads, kSharedBytes<S, true, true>,
             rows_of<const bf16>(op.x), data<const bf16>(op.w), data<const bf16>(op.bias), rows_of<Y>(op.y), t, n, k,
             vectors(op.x), vectors(op.w));
    });
  };
  op.y.dtype == DType::bf16 ? go(bf16{}) : go(float{});
}

void linear_backward_input_mma(Context& ctx, const LinearBackwardInput& op) {
  const int64_t t = op.dy.shape[0], n = op.w.shape[0], k = op.w.shape[1];
  with_shape(ctx, t, k, [&](auto s) {
    using S = decltype(s);
    launch(ctx, "linear_backward_input_mma", backward_input_kernel<S>, grid_of<S>(t, k), S::kThreads,
           kSharedBytes<S, true, false>, rows_of<const bf16>(op.dy), data<const bf16>(op.w), rows_of<bf16>(op.dx), t, n, k,
           vectors(op.dy), vectors(op.w), op.accumulate);
  });
}

void linear_backward_weight_mma(Context& ctx, const LinearBackwardWeight& op) {
  const int64_t t = op.dy.shape[0], n = op.dw.shape[0], k = op.dw.shape[1];
  with_shape(n, [&](auto s) {
    using S = decltype(s);
    launch(ctx, "linear_backward_weight_mma", backward_weight_kernel<S>, grid_of<S>(n, k), S::kThreads,
           kSharedBytes<S, false, false>, rows_of<const bf16>(op.dy), rows_of<const bf16>(op.x), data<float>(op.dw), t, n, k,
           vectors(op.dy), vectors(op.x));
  });
}

void grouped_linear_mma(Context& ctx, const GroupedLinear& op) {
  const int64_t experts = op.w.shape[0], n = op.w.shape[1], k = op.w.shape[2], m = op.y.shape[0];
  with_shape(m / experts, [&](auto s) {
    using S = decltype(s);
    launch(ctx, "grouped_linear_mma", grouped_kernel<S>, dim3(blocks_for(n, S::kN), expert_tiles(m, S::kM, experts)),
           S::kThreads, kSharedBytes<S, true, true>, rows_of<const bf16>(op.x), places_of(op.slots, op.copies),
           data<const bf16>(op.w), data<const int32_t>(op.offsets), data<bf16>(op.y), experts, n, k, vectors(op.x),
           vectors(op.w));
  });
}

void grouped_linear_backward_input_mma(Context& ctx, const GroupedLinearBackwardInput& op) {
  const int64_t experts = op.w.shape[0], n = op.w.shape[1], k = op.w.shape[2], m = op.dy.shape[0];
  with_shape(m / experts, [&](auto s) {
    using S = decltype(s);
    launch(ctx, "grouped_linear_backward_input_mma", grouped_backward_input_kernel<S>,
           dim3(blocks_for(k, S::kN), expert_tiles(m, S::kM, experts)), S::kThreads, kSharedBytes<S, true, false>,
           data<const bf16>(op.dy), data<const bf16>(op.w), data<const int32_t>(op.offsets), data<bf16>(op.dx), experts, n, k,
           vectors(op.dy), vectors(op.w));
  });
}

void grouped_linear_backward_weight_mma(Context& ctx, const GroupedLinearBackwardWeight& op) {
  const int64_t experts = op.dw.shape[0], n = op.dw.shape[1], k = op.dw.shape[2];
  with_shape(n, [&](auto s) {
    using S = decltype(s);
    launch(ctx, "grouped_linear_backward_weight_mma", grouped_backward_weight_kernel<S>, grid_of<S>(n, k, experts), S::kThreads,
           kSharedBytes<S, false, false>, data<const bf16>(op.dy), rows_of<const bf16>(op.x), places_of(op.slots, op.copies),
           data<const int32_t>(op.offsets), data<float>(op.dw), n, k, vectors(op.dy), vectors(op.x));
  });
}

}  // namespace r1::cuda
