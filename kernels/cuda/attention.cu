// AttentionPacked and AttentionPaged in plain kernels, and KvWrite.
#include "kernels/cuda/attention_step.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

template <class E>
struct Packed {
  Heads<const E> q, k, v;
  Heads<E> o;
  float* lse;  // [Q, Hq] or null
  PackedSequences sequences;
  int64_t rows, heads, group, d, dv;
  float scale;
};

template <class E>
__global__ void packed_kernel(const Packed<E> a) {
  R1_DYNAMIC_SHARED(float, shared);
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kAttentionWarps + threadIdx.x / 32, t = row / a.heads,
                h = row % a.heads;
  if (t >= a.rows) return;
  const PackedSequence s = a.sequences[sequence_of(a.sequences.queries, a.sequences.count, t)];
  const int64_t last = s.begin + t - s.query, g = h / a.group;
  AttentionRow r = start_row(shared, a.q.at(t, h), a.d, a.dv);
  for (int64_t k0 = s.begin; k0 <= last; k0 += kStepKeys)
    attend_step(
        r, static_cast<int>(last + 1 - k0 < kStepKeys ? last + 1 - k0 : kStepKeys), a.d, a.dv, a.scale,
        [&](int j, int64_t i) { return widen(a.k.at(k0 + j, g)[i]); },
        [&](int j, int64_t i) { return widen(a.v.at(k0 + j, g)[i]); });
  finish_row(r, a.o.at(t, h), a.lse != nullptr ? a.lse + row : nullptr, a.dv);
}

template <class E>
__global__ void paged_kernel(Heads<const E> q, Heads<E> o, const Pages<const E> pages, int64_t rows, int64_t heads,
                             int64_t group, float scale) {
  R1_DYNAMIC_SHARED(float, shared);
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kAttentionWarps + threadIdx.x / 32, row = at / heads, h = at % heads;
  if (row >= rows) return;
  const int64_t d = pages.d, dv = pages.dv, g = h / group, last = pages.row_pos[row];
  AttentionRow r = start_row(shared, q.at(row, h), d, dv);
  for (int64_t k0 = 0; k0 <= last; k0 += kStepKeys) {
    const int live = static_cast<int>(last + 1 - k0 < kStepKeys ? last + 1 - k0 : kStepKeys);
    const E *k[kStepKeys / kKeyBlock], *v[kStepKeys / kKeyBlock];
    for (int p = 0; p < static_cast<int>(kStepKeys / kKeyBlock); ++p) {
      const int64_t page = p * kKeyBlock < live ? pages.page(row, k0 + p * kKeyBlock) : 0;
      k[p] = pages.key(page, g);
      v[p] = pages.value(page, g);
    }
    attend_step(
        r, live, d, dv, scale, [&](int j, int64_t i) { return widen(k[j / kKeyBlock][i * kKeyBlock + j % kKeyBlock]); },
        [&](int j, int64_t i) { return widen(v[j / kKeyBlock][j % kKeyBlock * dv + i]); });
  }
  finish_row(r, o.at(row, h), static_cast<float*>(nullptr), dv);
}

// A thread a feature of a key or a value.
template <class E>
__global__ void kv_write_kernel(Heads<const E> k, Heads<const E> v, const Pages<E> pages, int64_t rows) {
  const int64_t at = global_index(), wide = pages.d + pages.dv;
  if (at >= rows * pages.heads * wide) return;
  const int64_t i = at % wide, h = at / wide % pages.heads, row = at / wide / pages.heads;
  const int64_t position = pages.row_pos[row], slot = position % kKeyBlock, page = pages.page(row, position);
  if (i < pages.d)
    pages.key(page, h)[i * kKeyBlock + slot] = k.at(row, h)[i];
  else
    pages.value(page, h)[slot * pages.dv + i - pages.d] = v.at(row, h)[i - pages.d];
}

}  // namespace

void attention_packed(Context& ctx, const AttentionPacked& op) {
  if (op.q.dtype == DType::bf16 && use_tensor_cores() && attention_packed_mma(ctx, op)) return;
  const int64_t t = op.q.shape[0], heads = op.q.shape[1];
  with_float(op.q, [&](auto e) {
    using E = decltype(e);
    const Packed<E> a{heads_of<const E>(op.q),
                      heads_of<const E>(op.k),
                      heads_of<const E>(op.v),
                      heads_of<E>(op.o),
                      data<float>(op.lse),
                      sequences_of(op),
                      t,
                      heads,
                      heads / op.k.shape[1],
                      op.q.shape[2],
                      op.v.shape[2],
                      op.scale};
    launch(ctx, "attention_packed", packed_kernel<E>, blocks_for(t * heads, kAttentionWarps), kAttentionWarps * 32,
           attention_shared(a.d, a.dv), a);
  });
}

void attention_paged(Context& ctx, const AttentionPaged& op) {
  if (op.q.dtype == DType::bf16 && use_tensor_cores() && attention_paged_mma(ctx, op)) return;
  const int64_t rows = op.q.shape[0], heads = op.q.shape[1];
  with_float(op.q, [&](auto e) {
    using E = decltype(e);
    const Pages<const E> pages = pages_of<const E>(op);
    launch(ctx, "attention_paged", paged_kernel<E>, blocks_for(rows * heads, kAttentionWarps), kAttentionWarps * 32,
           attention_shared(pages.d, pages.dv), heads_of<const E>(op.q), heads_of<E>(op.o), pages, rows, heads,
           heads / pages.heads, op.scale);
  });
}

void kv_write(Context& ctx, const KvWrite& op) {
  const int64_t rows = op.k.shape[0];
  with_float(op.k, [&](auto e) {
    using E = decltype(e);
    const Pages<E> pages = pages_of<E>(op);
    launch(ctx, "kv_write", kv_write_kernel<E>, blocks_for(rows * pages.heads * (pages.d + pages.dv)), kBlock, 0,
           heads_of<const E>(op.k), heads_of<const E>(op.v), pages, rows);
  });
}

}  // namespace r1::cuda
