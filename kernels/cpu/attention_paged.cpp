#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_paged.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <algorithm>
#include <array>
#include <new>
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

// By tiles a query has two sums where it else has one, so half as many go together.
inline constexpr int kTileQueries = 4;
// Rows that are many enough to be cut into tiles of sixteen, of which a prompt's share their keys.
inline constexpr int64_t kManyRows = 64;

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

// Rows [begin, end) of one sequence, which end in the same block of keys. With the query heads of one key head they are queries
// that share its keys: queries() for each key head, taken S at a time.
template <class E>
struct Run {
  Run(const PagedCall<E>& c, int64_t from, int64_t until, int64_t block_keys) : call(c), begin(from), end(from + 1) {
    const auto block = [&](int64_t row) { return c.row_pos[row] / block_keys; };
    while (end < until && c.row_seq[end] == c.row_seq[begin] && block(end) == block(begin)) ++end;
  }
  int64_t queries() const { return (end - begin) * call.group; }
  const int32_t* pages() const { return call.pages + call.row_seq[begin] * call.table_stride; }
  int64_t last_page() const { return call.row_pos[end - 1] / kKeyBlock; }
  const PagedCall<E>& call;
  int64_t begin, end;
};

// R queries of a run that go through a block of keys together, S of a key head. Where a run has no more, its last ones are
// there again.
template <int R, int S, class E>
struct Queries {
  static constexpr int kShares = R / S;
  // Shares of the run from `first`, of which each key head has `per_head`. memory: [R][D padded] and [R][Dv padded] f32.
  Queries(const Run<E>& of, int64_t first, int64_t per_head, float* memory)
      : run(of), Dp((of.call.D + 15) / 16 * 16), Dvp((of.call.Dv + 15) / 16 * 16), q(memory), acc(memory + R * Dp) {
    const PagedCall<E>& c = run.call;
    const int64_t shares = per_head * c.Hk;
    for (int64_t r = 0; r < R; ++r) {
      const int64_t share = std::min(first + r / S, shares - 1), i = share % per_head * S + r % S;
      const int64_t query = std::min(i, run.queries() - 1);
      key_head[r / S] = share / per_head;
      row[r] = run.begin + query / c.group;
      head[r] = key_head[r / S] * c.group + query % c.group;
      again[r] = query != i || share != first + r / S;
      widen_rows(c.q(row[r], head[r]), 0, 1, c.D, q + r * Dp, Dp);
    }
  }
  // Keys and values of a page, by share.
  void page(int64_t page, const E** k, const E** v) const {
    const PagedCall<E>& c = run.call;
    for (int64_t i = 0; i < kShares; ++i) {
      const int64_t at = page * c.Hk + key_head[i];
      k[i] = c.k_pages + at * c.D * kKeyBlock;
      v[i] = c.v_pages + at * kKeyBlock * c.Dv;
    }
  }
  const Run<E>& run;
  int64_t Dp, Dvp;
  float *q, *acc;
  int64_t key_head[kShares], row[R], head[R];
  bool again[R];
};

template <int R, int S, class E>
struct PlainQueries : Queries<R, S, E> {
  static constexpr int64_t kBlockPages = 1;
  static constexpr int64_t kSums = R;  // that do not wait for each other
  PlainQueries(const Run<E>& of, int64_t first, int64_t per_head, float* memory)
      : Queries<R, S, E>(of, first, per_head, memory) {
    for (int r = 0; r < R; ++r) live[r] = static_cast<int>(of.call.row_pos[this->row[r]] % kKeyBlock + 1);
    state.start(this->acc, this->Dvp);
  }
  void add_block(int64_t b) {
    static constexpr auto kAll = [] {
      std::array<int, R> all{};
      for (int& n : all) n = 16;
      return all;
    }();
    const PagedCall<E>& c = this->run.call;
    const int32_t* const pages = this->run.pages();
    const int64_t last = this->run.last_page(), ahead = (pages[std::min(b + 1, last)] - pages[b]) * c.Hk * kKeyBlock;
    const E *k[R / S], *v[R / S];
    this->page(pages[b], k, v);
    attend_block<R, S, true>(this->q, this->Dp, c.D, k, v, c.Dv, c.Dv, b < last ? kAll.data() : live, c.scale, state, this->acc,
                             this->Dvp, ahead * c.D, ahead * c.Dv);
  }
  void finish() {
    const PagedCall<E>& c = this->run.call;
    for (int r = 0; r < R; ++r)
      if (!this->again[r]) finish_row(state, r, this->acc + r * this->Dvp, c.Dv, c.o(this->row[r], this->head[r]));
  }
  Softmax<R> state;
  int live[R];  // keys in the last block
};

// With the bits of attention_packed.cpp's tile_attend_chunk.
template <int R, int S>
struct TileQueries : Queries<R, S, uint16_t> {
  static constexpr int64_t kBlockPages = kTileKeys / kKeyBlock;
  static constexpr int64_t kSums = 2 * R;
  using Queries<R, S, uint16_t>::kShares;
  TileQueries(const Run<uint16_t>& of, int64_t first, int64_t per_head, float* memory)
      : Queries<R, S, uint16_t>(of, first, per_head, memory) {
    std::memset(this->acc, 0, static_cast<size_t>(R * this->Dvp) * sizeof(float));
    for (float& m : max) m = -std::numeric_limits<float>::infinity();
  }
  void add_block(int64_t block) {
    const PagedCall<uint16_t>& c = this->run.call;
    const int32_t* const pages = this->run.pages();
    const int64_t page = block * kBlockPages, last_page = this->run.last_page(), Dp = this->Dp, Dvp = this->Dvp;
    const float* const q_rows = this->q;
    float* const acc = this->acc;
    const F16 scale = set16(c.scale), nothing = set16(-std::numeric_limits<float>::infinity());
    int64_t live[R], least = kTileKeys, most = 0;
    for (int r = 0; r < R; ++r) {
      live[r] = std::min<int64_t>(kTileKeys, c.row_pos[this->row[r]] + 1 - page * kKeyBlock);
      least = std::min(least, live[r]);
      most = std::max(most, live[r]);
    }
    const int64_t halves = most > 16 ? 2 : 1;
    const uint16_t *k[2][kShares], *v[2][kShares];
    int64_t ahead[2];  // pages from one of this block to that of the next, which is fetched meanwhile
    F16 s[2][R];
    for (int64_t i = 0; i < halves; ++i) {
      this->page(pages[page + i], k[i], v[i]);
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
          R1_UNROLL for (int h = 0; h < kShares; ++h) {
            const uint16_t* const keys = k[i][h] + d * 16;
            fetch(keys + ahead[i] * c.D);
            const F16 first = load16(keys), second = load16(keys + 16);
            R1_UNROLL for (int r = h * S; r < (h + 1) * S; ++r) {
              even[r] = fma16(set16(q_rows[r * Dp + d]), first, even[r]);
              odd[r] = fma16(set16(q_rows[r * Dp + d + 1]), second, odd[r]);
            }
          }
        }
        if (d < d1)
          R1_UNROLL for (int r = 0; r < R; ++r) even[r] =
              fma16(set16(q_rows[r * Dp + d]), load16(k[i][r / S] + d * 16), even[r]);
        R1_UNROLL for (int r = 0; r < R; ++r) x[r] = x[r] + (even[r] + odd[r]);
      }
      R1_UNROLL for (int r = 0; r < R; ++r) {
        x[r] = x[r] * scale;
        if (live[r] - i * 16 < 16) x[r] = select16(first16(std::max<int64_t>(live[r] - i * 16, 0)), x[r], nothing);
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
      const auto load_value = [&](int64_t j, int share, int part) HWY_ATTR {
        const uint16_t* const row = v[j / 16][share] + j % 16 * c.Dv + at + 16 * part;
        if constexpr (tail) return load16(row, c.Dv - at - 16 * part);
        return load16(row);
      };
      F16 even[R][kParts2], odd[R][kParts2];
      R1_UNROLL for (int r = 0; r < R; ++r) R1_UNROLL for (int part = 0; part < kParts2; ++part) even[r][part] = odd[r][part] =
          zero16();
      int64_t j = 0;
      for (; j + 2 <= least; j += 2) {
        R1_UNROLL for (int h = 0; h < kShares; ++h) {
          const uint16_t* const next = v[j / 16][h] + (ahead[j / 16] + j % 16) * c.Dv + at;
          fetch(next);
          fetch(next + c.Dv);
          R1_UNROLL for (int part = 0; part < kParts2; ++part) {
            const F16 first = load_value(j, h, part), second = load_value(j + 1, h, part);
            R1_UNROLL for (int r = h * S; r < (h + 1) * S; ++r) {
              even[r][part] = fma16(set16(p[r][j]), first, even[r][part]);
              odd[r][part] = fma16(set16(p[r][j + 1]), second, odd[r][part]);
            }
          }
        }
      }
      for (; j < most; ++j)
        R1_UNROLL for (int r = 0; r < R; ++r) if (j < live[r]) R1_UNROLL for (int part = 0; part < kParts2; ++part) {
          F16& pair = j % 2 == 0 ? even[r][part] : odd[r][part];
          pair = fma16(set16(p[r][j]), load_value(j, r / S, part), pair);
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
  void finish() {
    const PagedCall<uint16_t>& c = this->run.call;
    for (int r = 0; r < R; ++r) {
      if (this->again[r]) continue;
      const F16 inverse = set16(1.0f / sum[r]);
      uint16_t* const o = c.o(this->row[r], this->head[r]);
      for (int64_t d = 0; d < c.Dv; d += 16) store16(o + d, load16(this->acc + r * this->Dvp + d) * inverse, c.Dv - d);
    }
  }
  float max[R], sum[R] = {};
};

template <class E>
struct PlainQueriesOf {
  template <int R, int S>
  using Of = PlainQueries<R, S, E>;
};

// All queries of a run, block by block: a page is read once, for all heads, as it lies.
template <class Q, int R, class E>
void attend_all(const Run<E>& run, int64_t per_head) {
  const PagedCall<E>& c = run.call;
  const int64_t calls = (per_head * c.Hk + Q::kShares - 1) / Q::kShares;
  const int64_t floats = R * ((c.D + 15) / 16 * 16 + (c.Dv + 15) / 16 * 16);
  auto* const all = reinterpret_cast<Q*>(
      scratch_bytes(ScratchSlot::a, static_cast<size_t>(calls) * (sizeof(Q) + static_cast<size_t>(floats) * sizeof(float))));
  auto* const memory = reinterpret_cast<float*>(all + calls);
  for (int64_t i = 0; i < calls; ++i) new (all + i) Q(run, i * Q::kShares, per_head, memory + i * floats);
  for (int64_t b = 0; b <= run.last_page() / Q::kBlockPages; ++b)
    for (int64_t i = 0; i < calls; ++i) all[i].add_block(b);
  for (int64_t i = 0; i < calls; ++i) all[i].finish();
}

// A sum needs so many others beside it that it is not waited for.
inline constexpr int64_t kSumsAtLeast = 4;

// With as many key heads side by side as make R queries, or a half of it, and so on, whichever takes the fewest steps.
template <template <int, int> class Q, int R, int S, class E>
void attend_shares(const Run<E>& run) {
  const int64_t per_head = (run.queries() + S - 1) / S, shares = per_head * run.call.Hk;
  if constexpr (R > S) {
    const auto steps = [&](int64_t sums, int64_t side_by_side) {
      return (shares + side_by_side - 1) / side_by_side * std::max(sums, kSumsAtLeast);
    };
    if (steps(Q<R / 2, S>::kSums, R / 2 / S) < steps(Q<R, S>::kSums, R / S)) return attend_shares<Q, R / 2, S>(run);
  }
  attend_all<Q<R, S>, R>(run, per_head);
}

// At most R queries together.
template <template <int, int> class Q, int R, class E>
void attend_run(const Run<E>& run) {
  const int64_t most = std::min<int64_t>(run.queries(), R);
  if constexpr (R >= 8)
    if (most > 4) return attend_shares<Q, R, 8>(run);
  if constexpr (R >= 4)
    if (most > 2) return attend_shares<Q, R, 4>(run);
  if constexpr (R >= 2)
    if (most > 1) return attend_shares<Q, R, 2>(run);
  attend_shares<Q, R, 1>(run);
}

template <template <int, int> class Q, int R, class E>
void attend_runs(const PagedCall<E>& c, int64_t begin, int64_t end) {
  while (begin < end) {
    const Run<E> run(c, begin, end, Q<R, 1>::kBlockPages * kKeyBlock);
    attend_run<Q, R>(run);
    begin = run.end;
  }
}

template <class E>
void attend_rows(Context& context, const AttentionPaged& op) {
  const PagedCall<E> c(op);
  const int64_t rows = op.q.shape[0];
  double keys = 0;
  for (int64_t r = 0; r < rows; ++r) keys += c.row_pos[r] + 8;
  const double ns = keys * static_cast<double>(c.q.heads) * (0.02 * static_cast<double>(c.D + c.Dv) + 1);
  for_rows(context, rows, rows < kManyRows ? 4 : 16, ns / static_cast<double>(rows), [&](int64_t begin, int64_t end) HWY_ATTR {
    if constexpr (std::is_same_v<E, uint16_t> && HWY_TARGET == HWY_AVX3)
      if (attends_by_tiles(op.q.dtype)) {
        const NoDenormals mode;
        return attend_runs<TileQueries, kTileQueries>(c, begin, end);
      }
    attend_runs<PlainQueriesOf<E>::template Of, kQueryRows>(c, begin, end);
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
