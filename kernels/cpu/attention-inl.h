// One block of keys against several query rows: the one routine of packed and paged attention, so that they agree to the bit.
//
// Per row, whatever the rows beside it: scores are sums over d in order, 16 keys at a time; the softmax is online (running max,
// sum per lane, accumulator over Dv, rescaled at every block); values are added key by key. Keys beyond `live` are never read
// into a result. Source: Dao et al. 2022, algorithm 1.  Legend: R rows, D key features, Dv value features. To be included after
// hwy/foreach_target.h, once per target. Thread rule: pure functions.
#if defined(R1_CPU_ATTENTION_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef R1_CPU_ATTENTION_INL_H
#undef R1_CPU_ATTENTION_INL_H
#else
#define R1_CPU_ATTENTION_INL_H
#endif

#include <cmath>
#include <limits>

#include "kernels/cpu/simd-inl.h"
#include "kernels/ops.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

static_assert(kKeyBlock == 16, "a block of keys is one F16");

// Rows that go through a block together: enough independent sums to hide the latency of a fused multiply-add, few enough for
// the registers (AVX2 has 16, and an F16 takes two).
inline constexpr int kQueryRows = kLanes == 16 ? 8 : kLanes == 1 ? 1 : 4;
// F16 of every row that are summed side by side, for the same reason.
inline constexpr bool kWideSums = kLanes != 8;

// To the second-level cache: the first one has room for fewer lines on their way than hide the way from memory.
HWY_INLINE void fetch(const void* p) { __builtin_prefetch(p, 0, 2); }

// The state of R rows between blocks. acc: [R][acc_stride] f32, zeroed at the start; acc_stride a multiple of 16.
template <int R>
struct Softmax {
  F16 lane_sum[R];
  float max[R];
  HWY_INLINE void start(float* acc, int64_t acc_stride) {
    for (int r = 0; r < R; ++r) {
      lane_sum[r] = zero16();
      max[r] = -std::numeric_limits<float>::infinity();
    }
    std::memset(acc, 0, static_cast<size_t>(R * acc_stride) * sizeof(float));
  }
};

// q: [R][q_stride] f32. Rows [i S, (i + 1) S) share the keys k[i]: [D][16], and values v[i]: rows of Dv, v_stride apart; row r
// sees live[r] of them, in [1,16]. If kFetch, the next block, k_ahead and v_ahead elements further on, is fetched meanwhile.
template <int R, int S, bool kFetch, class E>
HWY_INLINE void attend_block(const float* q, int64_t q_stride, int64_t D, const E* const* k, const E* const* v,
                             int64_t v_stride, int64_t Dv, const int* live, float scale, Softmax<R>& state, float* acc,
                             int64_t acc_stride, int64_t k_ahead = 0, int64_t v_ahead = 0) {
  static_assert(R % S == 0);
  constexpr int64_t kLine = 64 / sizeof(E);
  constexpr int kShares = R / S;
  F16 s[R];
  R1_UNROLL for (int r = 0; r < R; ++r) s[r] = zero16();
  for (int64_t d = 0; d < D; ++d) {
    if (kFetch && d * 16 % kLine == 0) R1_UNROLL for (int i = 0; i < kShares; ++i) fetch(k[i] + k_ahead + d * 16);
    R1_UNROLL for (int i = 0; i < kShares; ++i) {
      const F16 kd = load16(k[i] + d * 16);
      R1_UNROLL for (int r = i * S; r < (i + 1) * S; ++r) s[r] = fma16(set16(q[r * q_stride + d]), kd, s[r]);
    }
  }
  const F16 scale16 = set16(scale), nothing = set16(-std::numeric_limits<float>::infinity());
  alignas(64) float p[R][16], correction[16] = {};
  int least = 16, most = 0;
  R1_UNROLL for (int r = 0; r < R; ++r) {
    s[r] = s[r] * scale16;
    if (live[r] < 16) s[r] = select16(first16(live[r]), s[r], nothing);
    const float block_max = max_lane16(s[r]);
    const float max = block_max > state.max[r] ? block_max : state.max[r];
    correction[r] = state.max[r] - max;
    state.max[r] = max;
    least = live[r] < least ? live[r] : least;
    most = live[r] > most ? live[r] : most;
  }
  store16(correction, exp16(load16(correction)));
  R1_UNROLL for (int r = 0; r < R; ++r) {
    const F16 e = exp16(s[r] - set16(state.max[r]));
    state.lane_sum[r] = fma16(state.lane_sum[r], set16(correction[r]), e);
    store16(p[r], e);
  }
  // Two F16 of every row at a time, where there are registers for 2 R sums.
  const auto values = [&](int64_t c, auto wide, auto tail) HWY_ATTR {
    constexpr int kParts2 = wide ? 2 : 1;
    F16 a[R][kParts2];
    R1_UNROLL for (int r = 0; r < R; ++r) R1_UNROLL for (int i = 0; i < kParts2; ++i) a[r][i] =
        load16(acc + r * acc_stride + c + 16 * i) * set16(correction[r]);
    const auto load_value = [&](const E* row, int i) HWY_ATTR {
      const int64_t at = c + 16 * i;
      if constexpr (tail) return load16(row + at, Dv - at);
      return load16(row + at);
    };
    for (int j = 0; j < least; ++j) {
      if (kFetch) R1_UNROLL for (int h = 0; h < kShares; ++h) fetch(v[h] + v_ahead + j * v_stride + c);
      R1_UNROLL for (int h = 0; h < kShares; ++h) {
        F16 vj[kParts2];
        R1_UNROLL for (int i = 0; i < kParts2; ++i) vj[i] = load_value(v[h] + j * v_stride, i);
        R1_UNROLL for (int r = h * S; r < (h + 1) * S; ++r) R1_UNROLL for (int i = 0; i < kParts2; ++i) a[r][i] =
            fma16(set16(p[r][j]), vj[i], a[r][i]);
      }
    }
    for (int j = least; j < most; ++j)
      R1_UNROLL for (int r = 0; r < R; ++r) if (j < live[r]) R1_UNROLL for (int i = 0; i < kParts2; ++i) a[r][i] =
          fma16(set16(p[r][j]), load_value(v[r / S] + j * v_stride, i), a[r][i]);
    R1_UNROLL for (int r = 0; r < R; ++r) R1_UNROLL for (int i = 0; i < kParts2; ++i)
        store16(acc + r * acc_stride + c + 16 * i, a[r][i]);
  };
  int64_t c = 0;
  if constexpr (kWideSums)
    for (; c + 32 <= Dv; c += 32) values(c, std::true_type{}, std::false_type{});
  else
    for (; c + 16 <= Dv; c += 16) values(c, std::false_type{}, std::false_type{});
  if (kWideSums && c + 16 < Dv) {
    values(c, std::true_type{}, std::true_type{});
  } else if (c + 16 == Dv) {
    values(c, std::false_type{}, std::false_type{});
  } else if (c < Dv) {
    values(c, std::false_type{}, std::true_type{});
  }
}

// o[0..Dv) = acc / sum; returns log sum exp of the row's scores.
template <int R, class E>
HWY_INLINE float finish_row(const Softmax<R>& state, int r, const float* acc, int64_t Dv, E* o) {
  const float sum = sum16(state.lane_sum[r]);
  const F16 inverse = set16(1.0f / sum);
  for (int64_t d = 0; d < Dv; d += 16) store16(o + d, load16(acc + d) * inverse, Dv - d);
  return state.max[r] + std::log(sum);
}

// rows x cols elements of src, `ld` apart, as f32 rows of `stride` (a multiple of 16 >= cols), the rest of each row zero.
template <class E>
HWY_INLINE void widen_rows(const E* src, int64_t ld, int64_t rows, int64_t cols, float* dst, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < stride; c += 16) {
      const int64_t n = cols - c;
      store16(dst + r * stride + c, load16(src + r * ld + c, n > 0 ? n : 0));
    }
}

// f32 rows [blocks * 16][stride] to blocks [blocks][cols][16].
HWY_INLINE void transpose_blocks(const float* src, int64_t stride, int64_t blocks, int64_t cols, float* dst) {
  for (int64_t b = 0; b < blocks; ++b) transpose16(src + b * 16 * stride, stride, 16, cols, dst + b * cols * 16, 16);
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
