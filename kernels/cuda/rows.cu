// Whole rows taken and added by index: Embedding, GatherRows and their backwards.
#include "kernels/cuda/device_code.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

template <class E>
__global__ void gather_kernel(Heads<const E> x, const int32_t* rows, E* y, int64_t n, int64_t heads, int64_t d) {
  const int64_t at = global_index();
  if (at >= n * heads * d) return;
  const int64_t piece = at / d;
  y[at] = x.at(rows[piece / heads], piece % heads)[at % d];
}

// The rows of a table that are named more than once, as chains: next[n]: the next after n that names the same row, or -1;
// first[n]: whether there is none before. A warp each, 32 names at a time.
__global__ void chain_kernel(const int32_t* rows, int32_t* next, int32_t* first, int64_t n_n) {
  const int lane = threadIdx.x % 32;
  const int64_t n = static_cast<int64_t>(blockIdx.x) * (kBlock / 32) + threadIdx.x / 32;
  if (n >= n_n) return;
  const int32_t row = rows[n];
  int64_t found = -1;
  for (int64_t i = n + 1; i < n_n && found < 0; i += 32) {
    const unsigned same = __ballot_sync(~0u, i + lane < n_n && rows[i + lane] == row);
    if (same != 0) found = i + __popc((same & (0u - same)) - 1);
  }
  bool before = false;
  for (int64_t end = n; end > 0 && !before; end -= 32)
    before = __ballot_sync(~0u, end - 1 - lane >= 0 && rows[end - 1 - lane] == row) != 0;
  if (lane == 0) next[n] = static_cast<int32_t>(found), first[n] = before ? 0 : 1;
}

// to[rows[n]] += from[n] in order of n: a block for every n, of which only those work whose row was not named before. The sum
// is held in f32 and rounded once.
template <class E, class To>
__global__ void scatter_add_kernel(const int32_t* rows, const int32_t* next, const int32_t* first, const E* from, Heads<To> to,
                                   int64_t heads, int64_t d) {
  const int64_t n = blockIdx.x, all = heads * d;
  if (first[n] == 0) return;
  for (int64_t c = threadIdx.x; c < all; c += blockDim.x) {
    To* const x = to.at(rows[n], c / d) + c % d;
    float sum = widen(*x);
    for (int64_t i = n; i >= 0; i = next[i]) sum += widen(from[i * all + c]);
    *x = narrow<To>(sum);
  }
}
template <class E, class To>
void scatter_add(Context& ctx, const char* name, const View& rows, const View& from, const View& to) {
  const int64_t n = rows.size();
  if (n == 0) return;
  Scratch scratch(ctx);
  int32_t *const next = scratch.ints(n), *const first = scratch.ints(n);
  launch(ctx, "chains_of_rows", chain_kernel, blocks_for(n, kBlock / 32), kBlock, 0, data<const int32_t>(rows), next, first, n);
  launch(ctx, name, scatter_add_kernel<E, To>, static_cast<unsigned>(n), kBlock, 0, data<const int32_t>(rows), next, first,
         data<const E>(from), heads_of<To>(to), head_count(to), to.shape[to.rank - 1]);
}

template <class E>
__global__ void zero_kernel(Heads<E> x, int64_t rows, int64_t heads, int64_t d) {
  const int64_t at = global_index();
  if (at < rows * heads * d) x.at(at / d / heads, at / d % heads)[at % d] = 0;
}

void gather(Context& ctx, const char* name, const View& x, const View& rows, const View& y) {
  const int64_t n = rows.size(), heads = head_count(y), d = y.shape[y.rank - 1];
  with_float(x, [&](auto e) {
    using E = decltype(e);
    launch(ctx, name, gather_kernel<E>, blocks_for(y.size()), kBlock, 0, heads_of<const E>(x), data<const int32_t>(rows),
           data<E>(y), n, heads, d);
  });
}

}  // namespace

void embedding(Context& ctx, const Embedding& op) { gather(ctx, "embedding", op.table, op.ids, op.y); }
void gather_rows(Context& ctx, const GatherRows& op) { gather(ctx, "gather_rows", op.x, op.rows, op.y); }

void embedding_backward(Context& ctx, const EmbeddingBackward& op) {
  with_float(op.dy, [&](auto e) { scatter_add<decltype(e), float>(ctx, "embedding_backward", op.ids, op.dy, op.dtable); });
}

void gather_rows_backward(Context& ctx, const GatherRowsBackward& op) {
  with_float(op.dy, [&](auto e) {
    using E = decltype(e);
    const View& dx = op.dx;
    if (!op.accumulate)
      launch(ctx, "zero_rows", zero_kernel<E>, blocks_for(dx.size()), kBlock, 0, heads_of<E>(dx), dx.shape[0], head_count(dx),
             dx.shape[dx.rank - 1]);
    scatter_add<E, E>(ctx, "gather_rows_backward", op.rows, op.dy, dx);
  });
}

}  // namespace r1::cuda
