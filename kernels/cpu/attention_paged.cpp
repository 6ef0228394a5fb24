#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_paged.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <algorithm>

#include "kernels/cpu/attention-inl.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/threads.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

template <class E>
void write_rows(Context& context, const KvWrite& op) {
  const Rows<const E> k(op.k), v(op.v);
  E* const k_pages = data_as<E>(op.k_pages);
  E* const v_pages = data_as<E>(op.v_pages);
  const int32_t* const pages = data_as<const int32_t>(op.page_table);
  const int32_t* const row_seq = data_as<const int32_t>(op.row_seq);
  const int32_t* const row_pos = data_as<const int32_t>(op.row_pos);
  const int64_t H = k.heads, D = op.k.shape[2], Dv = op.v.shape[2];
  for_rows(context, op.k.shape[0], 4, static_cast<double>(H * (2 * D + 20)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t page = pages[row_seq[r] * op.page_table.stride[0] + row_pos[r] / kKeyBlock], j = row_pos[r] % kKeyBlock;
      for (int64_t h = 0; h < H; ++h) {
        const E* const kr = k(r, h);
        E* const kp = k_pages + (page * H + h) * D * kKeyBlock + j;
        for (int64_t d = 0; d < D; ++d) kp[d * kKeyBlock] = kr[d];
        std::memcpy(v_pages + ((page * H + h) * kKeyBlock + j) * Dv, v(r, h), static_cast<size_t>(Dv) * sizeof(E));
      }
    }
  });
}

void kv_write(Context& context, const KvWrite& op) {
  op.k.dtype == DType::f32 ? write_rows<float>(context, op) : write_rows<uint16_t>(context, op);
}

template <class E>
struct PagedCall {
  explicit PagedCall(const AttentionPaged& op)
      : q(op.q),
        o(op.o),
        k_pages(data_as<const E>(op.k_pages)),
        v_pages(data_as<const E>(op.v_pages)),
        pages(data_as<const int32_t>(op.page_table)),
        row_seq(data_as<const int32_t>(op.row_seq)),
        row_pos(data_as<const int32_t>(op.row_pos)),
        table_stride(op.page_table.stride[0]),
        Hk(op.k_pages.shape[1]),
        group(op.q.shape[1] / op.k_pages.shape[1]),
        D(op.q.shape[2]),
        Dv(op.o.shape[2]),
        scale(op.scale) {}
  Rows<const E> q;
  Rows<E> o;
  const E* k_pages;
  const E* v_pages;
  const int32_t* pages;
  const int32_t* row_seq;
  const int32_t* row_pos;
  int64_t table_stride, Hk, group, D, Dv;
  float scale;
};

// Query heads [h, h+R) of one row: R independent rows for attend_block.
template <int R, class E>
void attend_heads(const PagedCall<E>& c, int64_t row, int64_t h, float* q_rows, float* acc) {
  const int64_t Dp = (c.D + 15) / 16 * 16, Dvp = (c.Dv + 15) / 16 * 16;
  for (int64_t r = 0; r < R; ++r) widen_rows(c.q(row, h + r), 0, 1, c.D, q_rows + r * Dp, Dp);
  const int64_t position = c.row_pos[row], last_block = position / kKeyBlock;
  const int32_t* const pages = c.pages + c.row_seq[row] * c.table_stride;
  int live[R], all[R];
  for (int r = 0; r < R; ++r) {
    live[r] = static_cast<int>(position % kKeyBlock + 1);
    all[r] = 16;
  }
  Softmax<R> state;
  state.start(acc, Dvp);
  for (int64_t b = 0; b <= last_block; ++b) {
    const E* k[R];
    const E* v[R];
    for (int64_t r = 0; r < R; ++r) {
      const int64_t head = pages[b] * c.Hk + (h + r) / c.group;
      k[r] = c.k_pages + head * c.D * kKeyBlock;
      v[r] = c.v_pages + head * kKeyBlock * c.Dv;
    }
    const int64_t ahead = (pages[std::min(b + 1, last_block)] - pages[b]) * c.Hk * kKeyBlock;
    attend_block<R, false>(q_rows, Dp, c.D, k, v, c.Dv, c.Dv, b < last_block ? all : live, c.scale, state, acc, Dvp,
                           ahead * c.D, ahead * c.Dv);
  }
  for (int r = 0; r < R; ++r) finish_row(state, r, acc + r * Dvp, c.Dv, c.o(row, h + r));
}

template <class E>
void attend_rows(Context& context, const AttentionPaged& op) {
  const PagedCall<E> c(op);
  const int64_t Hq = c.q.heads, Dp = (c.D + 15) / 16 * 16, Dvp = (c.Dv + 15) / 16 * 16;
  double keys = 0;
  for (int64_t r = 0; r < op.q.shape[0]; ++r) keys += c.row_pos[r] + 8;
  const double ns = keys * static_cast<double>(Hq) * (0.02 * static_cast<double>(c.D + c.Dv) + 1);
  for_rows(context, op.q.shape[0], 4, ns / static_cast<double>(op.q.shape[0]), [&](int64_t begin, int64_t end) HWY_ATTR {
    float* const q_rows = scratch<float>(ScratchSlot::a, kQueryRows * (Dp + Dvp));
    float* const acc = q_rows + kQueryRows * Dp;
    for (int64_t r = begin; r < end; ++r) {
      int64_t h = 0;
      for (; h + kQueryRows <= Hq; h += kQueryRows) attend_heads<kQueryRows>(c, r, h, q_rows, acc);
      if constexpr (kQueryRows > 1) {
        for (; h + 4 <= Hq; h += 4) attend_heads<4>(c, r, h, q_rows, acc);
        for (; h + 2 <= Hq; h += 2) attend_heads<2>(c, r, h, q_rows, acc);
      }
      for (; h < Hq; ++h) attend_heads<1>(c, r, h, q_rows, acc);
    }
  });
}

void attention_paged(Context& context, const AttentionPaged& op) {
  op.q.dtype == DType::f32 ? attend_rows<float>(context, op) : attend_rows<uint16_t>(context, op);
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(kv_write);
HWY_EXPORT(attention_paged);
void kv_write(Context& context, const KvWrite& op) { HWY_DYNAMIC_DISPATCH(kv_write)(context, op); }
void attention_paged(Context& context, const AttentionPaged& op) { HWY_DYNAMIC_DISPATCH(attention_paged)(context, op); }
}  // namespace r1::cpu
#endif
