// Whole rows taken and added by index: Embedding, GatherRows and their backwards.
#include "kernels/cuda/device_code.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

template <class E>
__global__ void gather_kernel(const E* x, const int32_t* rows, E* y, int64_t n, int64_t d) {
  const int64_t at = global_index();
  if (at < n * d) y[at] = x[rows[at / d] * d + at % d];
}

// to[rows[n]] += from[n] in order of n: a block for every n, of which only those work whose row was not named before. The sum
// is held in f32 and rounded once.
template <class E, class To>
__global__ void scatter_add_kernel(const int32_t* rows, const E* from, To* to, int64_t n, int64_t d) {
  const int64_t first = blockIdx.x;
  const int32_t row = rows[first];
  for (int64_t i = 0; i < first; ++i)
    if (rows[i] == row) return;
  for (int64_t c = threadIdx.x; c < d; c += blockDim.x) {
    float sum = widen(to[row * d + c]);
    for (int64_t i = first; i < n; ++i)
      if (rows[i] == row) sum += widen(from[i * d + c]);
    to[row * d + c] = narrow<To>(sum);
  }
}

void gather(Context& ctx, const char* name, const View& x, const View& rows, const View& y) {
  const int64_t n = rows.size(), d = y.shape[1];
  with_float(x, [&](auto e) {
    using E = decltype(e);
    launch(ctx, name, gather_kernel<E>, blocks_for(n * d), kBlock, 0, data<const E>(x), data<const int32_t>(rows), data<E>(y),
           n, d);
  });
}

}  // namespace

void embedding(Context& ctx, const Embedding& op) { gather(ctx, "embedding", op.table, op.ids, op.y); }
void gather_rows(Context& ctx, const GatherRows& op) { gather(ctx, "gather_rows", op.x, op.rows, op.y); }

void embedding_backward(Context& ctx, const EmbeddingBackward& op) {
  const int64_t n = op.ids.size(), d = op.dy.shape[1];
  with_float(op.dy, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "embedding_backward", scatter_add_kernel<E, float>, static_cast<unsigned>(n), kBlock, 0,
           data<const int32_t>(op.ids), data<const E>(op.dy), data<float>(op.dtable), n, d);
  });
}

void gather_rows_backward(Context& ctx, const GatherRowsBackward& op) {
  const int64_t n = op.rows.size(), d = op.dy.shape[1];
  with_float(op.dy, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "gather_rows_backward", scatter_add_kernel<E, E>, static_cast<unsigned>(n), kBlock, 0,
           data<const int32_t>(op.rows), data<const E>(op.dy), data<E>(op.dx), n, d);
  });
}

}  // namespace r1::cuda
