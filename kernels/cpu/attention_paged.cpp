#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_paged.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <algorithm>
#include <optional>
#include <type_traits>

#include "kernels/cpu/attention-inl.h"
#include "kernels/cpu/attention_tiles-inl.h"
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

// As attend_heads, with the bits of attention_packed.cpp's tile_attend_chunk.
template <int R>
void tile_attend_heads(const PagedCall<uint16_t>& c, int64_t row, int64_t h, float* q_rows, float* acc) {
  const int64_t Dp = (c.D + 15) / 16 * 16, Dvp = (c.Dv + 15) / 16 * 16;
  for (int64_t r = 0; r < R; ++r) widen_rows(c.q(row, h + r), 0, 1, c.D, q_rows + r * Dp, Dp);
  std::memset(acc, 0, static_cast<size_t>(R * Dvp) * sizeof(float));
  const int32_t* const pages = c.pages + c.row_seq[row] * c.table_stride;
  const int64_t last_page = c.row_pos[row] / kKeyBlock;
  const F16 scale = set16(c.scale), nothing = set16(-std::numeric_limits<float>::infinity());
  float max[R], sum[R] = {};
  for (float& m : max) m = -std::numeric_limits<float>::infinity();
  for (int64_t page = 0; page <= last_page; page += 2) {
    const int64_t live = std::min<int64_t>(kTileKeys, c.row_pos[row] + 1 - page * kKeyBlock), halves = live > 16 ? 2 : 1;
    const uint16_t *k[2][R], *v[2][R];
    int64_t ahead[2];  // pages from one of this block to that of the next, which is fetched meanwhile
    F16 s[2][R];
    for (int64_t i = 0; i < halves; ++i) {
      for (int64_t r = 0; r < R; ++r) {
        const int64_t head = pages[page + i] * c.Hk + (h + r) / c.group;
        k[i][r] = c.k_pages + head * c.D * kKeyBlock;
        v[i][r] = c.v_pages + head * kKeyBlock * c.Dv;
      }
      ahead[i] = (pages[std::min(page + i + 2, last_page)] - pages[page + i]) * c.Hk * kKeyBlock;
    }
    R1_UNROLL for (int r = 0; r < R; ++r) s[1][r] = nothing;
    for (int64_t i = 0; i < halves; ++i) {
      F16 x[R];
      R1_UNROLL for (int r = 0; r < R; ++r) x[r] = zero16();
      for (int64_t d0 = 0; d0 < c.D; d0 += kTileStep) {
        const int64_t d1 = std::min(d0 + kTileStep, c.D);
        F16 even[R], odd[R];
        R1_UNROLL for (int r = 0; r < R; ++r) even[r] = odd[r] = zero16();
        int64_t d = d0;
        for (; d + 2 <= d1; d += 2) {  // 64 bytes of keys
          R1_UNROLL for (int r = 0; r < R; ++r) {
            const uint16_t* const keys = k[i][r] + d * 16;
            hwy::Prefetch(keys + ahead[i] * c.D);
            even[r] = fma16(set16(q_rows[r * Dp + d]), load16(keys), even[r]);
            odd[r] = fma16(set16(q_rows[r * Dp + d + 1]), load16(keys + 16), odd[r]);
          }
        }
        if (d < d1)
          R1_UNROLL for (int r = 0; r < R; ++r) even[r] = fma16(set16(q_rows[r * Dp + d]), load16(k[i][r] + d * 16), even[r]);
        R1_UNROLL for (int r = 0; r < R; ++r) x[r] = x[r] + (even[r] + odd[r]);
      }
      R1_UNROLL for (int r = 0; r < R; ++r) {
        x[r] = x[r] * scale;
        if (live - i * 16 < 16) x[r] = select16(first16(live - i * 16), x[r], nothing);
        s[i][r] = x[r];
      }
    }
    alignas(64) float p[R][kTileKeys], correction[16] = {};
    R1_UNROLL for (int r = 0; r < R; ++r) {
      const float block_max = max_lane16(max16(s[0][r], s[1][r]));
      const float new_max = block_max > max[r] ? block_max : max[r];
      correction[r] = max[r] - new_max;
      max[r] = new_max;
    }
    store16(correction, exp16(load16(correction)));
    R1_UNROLL for (int r = 0; r < R; ++r) {
      const F16 low = exp16(s[0][r] - set16(max[r])), high = exp16(s[1][r] - set16(max[r]));
      sum[r] = std::fma(sum[r], correction[r], sum16(low + high));
      store16(p[r], round_to<uint16_t>(low));
      store16(p[r] + 16, round_to<uint16_t>(high));
    }
    // Two F16 of every row at a time.
    const auto values = [&](int64_t at, auto wide, auto tail) HWY_ATTR {
      constexpr int kParts2 = wide ? 2 : 1;
      const auto load_value = [&](const uint16_t* row, int part) HWY_ATTR {
        if constexpr (tail) return load16(row + 16 * part, c.Dv - at - 16 * part);
        return load16(row + 16 * part);
      };
      F16 even[R][kParts2], odd[R][kParts2];
      R1_UNROLL for (int r = 0; r < R; ++r) R1_UNROLL for (int part = 0; part < kParts2; ++part) even[r][part] = odd[r][part] =
          zero16();
      for (int64_t i = 0; i < halves; ++i) {
        const int64_t n = std::min<int64_t>(live - i * 16, 16);
        int64_t j = 0;
        for (; j + 2 <= n; j += 2) {
          R1_UNROLL for (int r = 0; r < R; ++r) {
            const uint16_t* const first = v[i][r] + j * c.Dv + at;
            hwy::Prefetch(first + ahead[i] * c.Dv);
            hwy::Prefetch(first + ahead[i] * c.Dv + c.Dv);
            const F16 p_even = set16(p[r][i * 16 + j]), p_odd = set16(p[r][i * 16 + j + 1]);
            R1_UNROLL for (int part = 0; part < kParts2; ++part) {
              even[r][part] = fma16(p_even, load_value(first, part), even[r][part]);
              odd[r][part] = fma16(p_odd, load_value(first + c.Dv, part), odd[r][part]);
            }
          }
        }
        if (j < n)
          R1_UNROLL for (int r = 0; r < R; ++r) R1_UNROLL for (int part = 0; part < kParts2; ++part) even[r][part] =
              fma16(set16(p[r][i * 16 + j]), load_value(v[i][r] + j * c.Dv + at, part), even[r][part]);
      }
      R1_UNROLL for (int r = 0; r < R; ++r) R1_UNROLL for (int part = 0; part < kParts2; ++part) {
        float* const a = acc + r * Dvp + at + 16 * part;
        store16(a, load16(a) * set16(correction[r]) + (even[r][part] + odd[r][part]));
      }
    };
    int64_t at = 0;
    for (; at + 32 <= c.Dv; at += 32) values(at, std::true_type{}, std::false_type{});
    if (at + 16 < c.Dv)
      values(at, std::true_type{}, std::true_type{});
    else if (at < c.Dv)
      values(at, std::false_type{}, std::true_type{});
  }
  for (int r = 0; r < R; ++r) {
    const F16 inverse = set16(1.0f / sum[r]);
    uint16_t* const o = c.o(row, h + r);
    for (int64_t d = 0; d < c.Dv; d += 16) store16(o + d, load16(acc + r * Dvp + d) * inverse, c.Dv - d);
  }
}

// Query heads [h, h+R) of one row, by what the instruction set has.
template <int R, class E>
void attend(const PagedCall<E>& c, bool by_tiles, int64_t row, int64_t h, float* q_rows, float* acc) {
  if constexpr (std::is_same_v<E, uint16_t> && HWY_TARGET == HWY_AVX3)
    if (by_tiles) return tile_attend_heads<R>(c, row, h, q_rows, acc);
  (void)by_tiles;
  attend_heads<R>(c, row, h, q_rows, acc);
}

template <class E>
void attend_rows(Context& context, const AttentionPaged& op) {
  const PagedCall<E> c(op);
  const int64_t Hq = c.q.heads, Dp = (c.D + 15) / 16 * 16, Dvp = (c.Dv + 15) / 16 * 16;
  double keys = 0;
  for (int64_t r = 0; r < op.q.shape[0]; ++r) keys += c.row_pos[r] + 8;
  const bool by_tiles = attends_by_tiles(op.q.dtype);
  const double ns = keys * static_cast<double>(Hq) * (0.02 * static_cast<double>(c.D + c.Dv) + 1);
  for_rows(context, op.q.shape[0], 4, ns / static_cast<double>(op.q.shape[0]), [&](int64_t begin, int64_t end) HWY_ATTR {
    std::optional<NoDenormals> mode;
    if (by_tiles) mode.emplace();
    float* const q_rows = scratch<float>(ScratchSlot::a, kQueryRows * (Dp + Dvp));
    float* const acc = q_rows + kQueryRows * Dp;
    for (int64_t r = begin; r < end; ++r) {
      int64_t h = 0;
      // By tiles a row has two sums where it else has one.
      for (; !by_tiles && h + kQueryRows <= Hq; h += kQueryRows) attend<kQueryRows>(c, by_tiles, r, h, q_rows, acc);
      if constexpr (kQueryRows > 1) {
        for (; h + 4 <= Hq; h += 4) attend<4>(c, by_tiles, r, h, q_rows, acc);
        for (; h + 2 <= Hq; h += 2) attend<2>(c, by_tiles, r, h, q_rows, acc);
      }
      for (; h < Hq; ++h) attend<1>(c, by_tiles, r, h, q_rows, acc);
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
