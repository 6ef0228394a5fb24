#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_backward.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "kernels/cpu/attention-inl.h"
#include "kernels/cpu/attention_tiles-inl.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/packed_sequence.h"
#include "kernels/cpu/threads.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

// out[i][c] += sum_k weight[i * wi + k * wk] x[k][c]  for i < I, k < K in order, c < width (a multiple of 16).
template <int I>
HWY_INLINE void add_products(float* out, int64_t out_stride, const float* weight, int64_t wi, int64_t wk, const float* x,
                             int64_t x_stride, int K, int64_t width) {
  const auto columns = [&](int64_t c, auto wide) HWY_ATTR {
    constexpr int kParts2 = wide ? 2 : 1;
    F16 a[I][kParts2];
    R1_UNROLL for (int i = 0; i < I; ++i) R1_UNROLL for (int p = 0; p < kParts2; ++p) a[i][p] =
        load16(out + i * out_stride + c + 16 * p);
    for (int k = 0; k < K; ++k) {
      F16 xk[kParts2];
      R1_UNROLL for (int p = 0; p < kParts2; ++p) xk[p] = load16(x + k * x_stride + c + 16 * p);
      R1_UNROLL for (int i = 0; i < I; ++i) R1_UNROLL for (int p = 0; p < kParts2; ++p) a[i][p] =
          fma16(set16(weight[i * wi + k * wk]), xk[p], a[i][p]);
    }
    R1_UNROLL for (int i = 0; i < I; ++i) R1_UNROLL for (int p = 0; p < kParts2; ++p)
        store16(out + i * out_stride + c + 16 * p, a[i][p]);
  };
  int64_t c = 0;
  if constexpr (kWideSums)
    for (; c + 32 <= width; c += 32) columns(c, std::true_type{});
  for (; c < width; c += 16) columns(c, std::false_type{});
}

// R rows of x [R][x_stride] times a transposed block [D][16].
template <int R>
HWY_INLINE void row_products(const float* x, int64_t x_stride, const float* block, int64_t D, F16* s) {
  R1_UNROLL for (int r = 0; r < R; ++r) s[r] = zero16();
  for (int64_t d = 0; d < D; ++d) {
    const F16 b = load16(block + d * 16);
    R1_UNROLL for (int r = 0; r < R; ++r) s[r] = fma16(set16(x[r * x_stride + d]), b, s[r]);
  }
}

// All of one sequence and key head. With p = exp(s - lse), delta = sum_d o do:
//   dv[j] = sum_t p do[t],  ds = p (do v - delta) scale,  dq[t] = sum_j ds k[j],  dk[j] = sum_t ds q[t].
// Source: Dao et al. 2022, algorithm 4.
template <class E>
void backward_of(const AttentionPackedBackward& op, const PackedSequence& sequence, int64_t key_head) {
  const Rows<const E> q(op.q), k(op.k), v(op.v), o(op.o), d_o(op.d_o);
  const Rows<E> dq(op.dq), dk(op.dk), dv(op.dv);
  const int64_t first = sequence.first, length = sequence.length;
  const float* const lse = data_as<const float>(op.lse);
  const int64_t Hq = q.heads, group = q.heads / k.heads;
  const int64_t D = op.q.shape[2], Dv = op.v.shape[2], Dp = (D + 15) / 16 * 16, Dvp = (Dv + 15) / 16 * 16;
  const int64_t blocks = (length + 15) / 16, padded = blocks * 16;
  constexpr int R = kQueryRows;

  float* const k_rows = scratch<float>(ScratchSlot::a, padded * (D + Dv + 2 * (Dp + Dvp)) + R * (2 * Dp + 2 * Dvp));
  float* const v_rows = k_rows + padded * Dp;
  float* const dk_rows = v_rows + padded * Dvp;
  float* const dv_rows = dk_rows + padded * Dp;
  float* const k_blocks = dv_rows + padded * Dvp;
  float* const v_blocks = k_blocks + padded * D;
  float* const q_rows = v_blocks + padded * Dv;
  float* const do_rows = q_rows + R * Dp;
  float* const dq_rows = do_rows + R * Dvp;
  float* const o_row = dq_rows + R * Dp;
  widen_rows(k(first, key_head), k.stride0, length, D, k_rows, Dp);
  widen_rows(v(first, key_head), v.stride0, length, Dv, v_rows, Dvp);
  std::memset(k_rows + length * Dp, 0, static_cast<size_t>((padded - length) * Dp) * sizeof(float));
  std::memset(v_rows + length * Dvp, 0, static_cast<size_t>((padded - length) * Dvp) * sizeof(float));
  transpose_blocks(k_rows, Dp, blocks, D, k_blocks);
  transpose_blocks(v_rows, Dvp, blocks, Dv, v_blocks);
  std::memset(dk_rows, 0, static_cast<size_t>(padded * (Dp + Dvp)) * sizeof(float));

  const F16 scale = set16(op.scale);
  for (int64_t h = key_head * group; h < (key_head + 1) * group; ++h) {
    for (int64_t position = sequence.skipped, rows = 0; position < length; position += rows) {
      rows = std::min<int64_t>(R - position % R, length - position);
      const int64_t t0 = sequence.query + position, last_block = position / 16;
      widen_rows(q(t0, h), q.stride0, rows, D, q_rows, Dp);
      widen_rows(d_o(t0, h), d_o.stride0, rows, Dv, do_rows, Dvp);
      std::memset(q_rows + rows * Dp, 0, static_cast<size_t>((R - rows) * Dp) * sizeof(float));
      std::memset(do_rows + rows * Dvp, 0, static_cast<size_t>((R - rows) * Dvp) * sizeof(float));
      std::memset(dq_rows, 0, static_cast<size_t>(R * Dp) * sizeof(float));
      float delta[R] = {}, row_lse[R] = {};
      for (int64_t r = 0; r < rows; ++r) {
        widen_rows(o(t0 + r, h), 0, 1, Dv, o_row, Dvp);
        F16 s = zero16();
        for (int64_t d = 0; d < Dvp; d += 16) s = fma16(load16(o_row + d), load16(do_rows + r * Dvp + d), s);
        delta[r] = sum16(s);
        row_lse[r] = lse[(t0 + r) * Hq + h];
      }
      for (int64_t b = 0; b <= last_block; ++b) {
        F16 s[R], dp[R];
        row_products<R>(q_rows, Dp, k_blocks + b * 16 * D, D, s);
        row_products<R>(do_rows, Dvp, v_blocks + b * 16 * Dv, Dv, dp);
        alignas(64) float p[R * 16], ds[R * 16];
        R1_UNROLL for (int64_t r = 0; r < R; ++r) {
          const int64_t live = r < rows ? std::min<int64_t>(position + r - b * 16 + 1, 16) : 0;
          F16 e = exp16(s[r] * scale - set16(row_lse[r]));
          if (live < 16) e = select16(first16(live), e, zero16());
          store16(p + r * 16, e);
          store16(ds + r * 16, e * (dp[r] - set16(delta[r])) * scale);
        }
        add_products<R>(dq_rows, Dp, ds, 16, 1, k_rows + b * 16 * Dp, Dp, 16, Dp);
        for (int64_t j = 0; j < 16; j += R) {
          add_products<R>(dk_rows + (b * 16 + j) * Dp, Dp, ds + j, 1, 16, q_rows, Dp, R, Dp);
          add_products<R>(dv_rows + (b * 16 + j) * Dvp, Dvp, p + j, 1, 16, do_rows, Dvp, R, Dvp);
        }
      }
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t d = 0; d < D; d += 16) store16(dq(t0 + r, h) + d, load16(dq_rows + r * Dp + d), D - d);
    }
  }
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t d = 0; d < D; d += 16) store16(dk(first + t, key_head) + d, load16(dk_rows + t * Dp + d), D - d);
    for (int64_t d = 0; d < Dv; d += 16) store16(dv(first + t, key_head) + d, load16(dv_rows + t * Dvp + d), Dv - d);
  }
}

// As backward_of, by tiles: blocks of 32 keys by 32 queries, keys along the rows and queries in lanes; p and ds rounded to bf16
// for the products. dk and dv are summed in the order of heads and queries, dq in the order of keys, a block a step.
template <class Tiles>
void tile_backward_of(const AttentionPackedBackward& op, const PackedSequence& sequence, int64_t key_head) {
  const Rows<const uint16_t> q(op.q), k(op.k), v(op.v), o(op.o), d_o(op.d_o);
  const Rows<uint16_t> dq(op.dq), dk(op.dk), dv(op.dv);
  const int64_t first = sequence.first, length = sequence.length;
  const float* const lse = data_as<const float>(op.lse);
  const int64_t Hq = q.heads, group = q.heads / k.heads, D = op.q.shape[2], Dv = op.v.shape[2];
  const int64_t blocks = (length + kTileKeys - 1) / kTileKeys;
  const int64_t steps = tile_steps(D), value_steps = tile_steps(Dv);    // of what is summed over
  const int64_t d_tiles = (D + 15) / 16, value_tiles = (Dv + 15) / 16;  // of what is not
  const int64_t key_bytes = 2 * steps * kTileBytes, value_bytes = 2 * value_steps * kTileBytes,
                turned_bytes = d_tiles * kTileBytes;

  // In tiles: k, v and k turned of all keys; q and do, as columns and as rows, of 32 queries; then f32.
  const int64_t tiles_in_all =
      blocks * (2 * steps + 2 * value_steps + d_tiles) + 2 * (steps + value_steps) + d_tiles + value_tiles;
  const int64_t d_line = d_tiles * 16, value_line = value_tiles * 16;
  std::byte* at = reinterpret_cast<std::byte*>(scratch<float>(
      ScratchSlot::a,
      tiles_in_all * kTileFloats + blocks * kTileKeys * (d_line + value_line) + (2 * d_tiles + 14) * kTileFloats));
  const auto take = [&](int64_t bytes) {
    std::byte* const here = at;
    at += bytes;
    return here;
  };
  std::byte* const k_rows = take(blocks * key_bytes);
  std::byte* const v_rows = take(blocks * value_bytes);
  std::byte* const k_turned = take(blocks * turned_bytes);
  std::byte* const q_columns = take(2 * steps * kTileBytes);
  std::byte* const do_columns = take(2 * value_steps * kTileBytes);
  std::byte* const q_pairs = take(d_tiles * kTileBytes);
  std::byte* const do_pairs = take(value_tiles * kTileBytes);
  auto* const dk_sums = reinterpret_cast<float*>(take(blocks * kTileKeys * d_line * 4));
  auto* const dv_sums = reinterpret_cast<float*>(take(blocks * kTileKeys * value_line * 4));
  auto* const dq_sums = reinterpret_cast<float*>(take(2 * d_tiles * kTileBytes));  // [2][d_tiles][16 of d][16 queries]
  auto* const s = reinterpret_cast<float*>(take(4 * kTileBytes));                  // [32 keys][32 queries]
  auto* const dp = reinterpret_cast<float*>(take(4 * kTileBytes));
  auto* const p_rows = reinterpret_cast<uint16_t*>(take(2 * kTileBytes));  // [32 keys][32 queries]
  auto* const ds_rows = reinterpret_cast<uint16_t*>(take(2 * kTileBytes));
  auto* const ds_pairs = reinterpret_cast<uint32_t*>(take(2 * kTileBytes));  // [2][16 pairs of keys][16 queries]

  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t t = first + b * kTileKeys, left = length - b * kTileKeys;
    for (int64_t i = 0; i < 2; ++i) {
      const int64_t rows = std::max<int64_t>(left - i * 16, 0);
      pack_rows(k(t + i * 16, key_head), k.stride0, rows, D, k_rows + b * key_bytes + i * steps * kTileBytes);
      pack_rows(v(t + i * 16, key_head), v.stride0, rows, Dv, v_rows + b * value_bytes + i * value_steps * kTileBytes);
    }
    pack_turned(k(t, key_head), k.stride0, std::min(left, kTileKeys), D, kTileBytes, k_turned + b * turned_bytes);
  }
  std::memset(dk_sums, 0, static_cast<size_t>(blocks * kTileKeys * (d_line + value_line)) * sizeof(float));

  Tiles tiles;
  const F16 scale = set16(op.scale);
  for (int64_t h = key_head * group; h < (key_head + 1) * group; ++h) {
    for (int64_t position = sequence.skipped, rows = 0; position < length; position += rows) {
      const int64_t block = position / kTileKeys, inside = position % kTileKeys;  // lane 0 stands there in its block
      rows = std::min(kTileKeys - inside, length - position);
      const int64_t t0 = sequence.query + position;
      // A query that is not there has an output gradient of zero, so that it adds nothing.
      alignas(64) float row_lse[32] = {}, delta[32] = {};
      for (int64_t r = 0; r < rows; ++r) {
        const uint16_t* const o_row = o(t0 + r, h);
        const uint16_t* const do_row = d_o(t0 + r, h);
        F16 sum = zero16();
        for (int64_t d = 0; d < Dv; d += 16) sum = fma16(load16(o_row + d, Dv - d), load16(do_row + d, Dv - d), sum);
        delta[r] = sum16(sum);
        row_lse[r] = lse[(t0 + r) * Hq + h];
      }
      for (int64_t i = 0; i < 2; ++i) {
        const int64_t here = std::max<int64_t>(rows - i * 16, 0);
        pack_transposed(q(t0 + i * 16, h), q.stride0, here, D, q_columns + i * steps * kTileBytes);
        pack_transposed(d_o(t0 + i * 16, h), d_o.stride0, here, Dv, do_columns + i * value_steps * kTileBytes);
      }
      for (int64_t c = 0; c < d_tiles; ++c)
        pack_plain(q(t0, h) + c * 16, q.stride0, D - c * 16, rows, q_pairs + c * kTileBytes);
      for (int64_t c = 0; c < value_tiles; ++c)
        pack_plain(d_o(t0, h) + c * 16, d_o.stride0, Dv - c * 16, rows, do_pairs + c * kTileBytes);
      std::memset(dq_sums, 0, static_cast<size_t>(2 * d_tiles * kTileBytes));

      for (int64_t b = 0; b <= block; ++b) {
        tile_products<2>(tiles, k_rows + b * key_bytes, q_columns, steps, s);
        tile_products<2>(tiles, v_rows + b * value_bytes, do_columns, value_steps, dp);
        for (int64_t i = 0; i < 2; ++i) {
          const F16 row_lse16 = load16(row_lse + i * 16), delta16 = load16(delta + i * 16);
          const auto gradient = [&](int64_t j) HWY_ATTR {
            F16 e = exp16(load16(s + j * 32 + i * 16) * scale - row_lse16);
            const int64_t before = j - inside - i * 16;  // lanes of queries before the key
            if (b == block && before > 0) e = select16(first16(before), zero16(), e);
            store16(p_rows + j * 32 + i * 16, e);
            const F16 ds = e * (load16(dp + j * 32 + i * 16) - delta16) * scale;
            store16(ds_rows + j * 32 + i * 16, ds);
            return ds;
          };
          for (int64_t j = 0; j < kTileKeys; j += 2) {
            const F16 even = gradient(j);
            store_pairs16(ds_pairs + i * kTileFloats + j / 2 * 16, even, gradient(j + 1));
          }
        }
        for (int64_t i = 0; i < 2; ++i) {
          const int64_t key = b * kTileKeys + i * 16;
          const auto rows_of = [&](const uint16_t* x) { return reinterpret_cast<const std::byte*>(x + i * 16 * 32); };
          add_products_of_row(tiles, dv_sums + key * value_line, 16, value_line * 4, rows_of(p_rows), do_pairs, value_tiles);
          add_products_of_row(tiles, dk_sums + key * d_line, 16, d_line * 4, rows_of(ds_rows), q_pairs, d_tiles);
          add_tile_products(tiles, dq_sums + i * d_tiles * kTileFloats, kTileFloats, kTileStepBytes,
                            k_turned + b * turned_bytes, reinterpret_cast<const std::byte*>(ds_pairs + i * kTileFloats),
                            d_tiles);
        }
      }
      for (int64_t i = 0; i * 16 < rows; ++i)
        store_turned(dq_sums + i * d_tiles * kTileFloats, kTileFloats, set16(1.0f), dq(t0 + i * 16, h), dq.stride0,
                     std::min<int64_t>(rows - i * 16, 16), D);
    }
  }
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t d = 0; d < D; d += 16) store16(dk(first + t, key_head) + d, load16(dk_sums + t * d_line + d), D - d);
    for (int64_t d = 0; d < Dv; d += 16) store16(dv(first + t, key_head) + d, load16(dv_sums + t * value_line + d), Dv - d);
  }
}

void backward_by_tiles(const AttentionPackedBackward& op, const PackedSequence& sequence, int64_t key_head) {
  const NoDenormals mode;
  isa() == Isa::amx ? tile_backward_of<HardwareTiles>(op, sequence, key_head)
                    : tile_backward_of<SoftwareTiles>(op, sequence, key_head);
}

void attention_packed_backward(Context& context, const AttentionPackedBackward& op) {
  const int64_t Hk = op.k.shape[1], sequences = op.offsets.shape[0] - 1;
  if (sequences < 1) return;
  double pairs = 0;
  for (int64_t i = 0; i < sequences; ++i) {
    const PackedSequence s = packed_sequence(op, i);
    R1_CHECK(op.longest == 0 || s.length <= op.longest, "a sequence is longer than the longest");
    pairs += s.pairs();
  }
  const double ns =
      pairs * static_cast<double>(op.q.shape[1]) * (0.04 * static_cast<double>(op.q.shape[2] + op.v.shape[2]) + 0.5);
  for_tiles(context, sequences * Hk, static_cast<int64_t>(ns / static_cast<double>(sequences * Hk)), [&](int64_t i) HWY_ATTR {
    const PackedSequence s = packed_sequence(op, i / Hk);
    if (s.length == 0) return;
    if (attends_by_tiles(op.q.dtype)) return backward_by_tiles(op, s, i % Hk);
    op.q.dtype == DType::f32 ? backward_of<float>(op, s, i % Hk) : backward_of<uint16_t>(op, s, i % Hk);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(attention_packed_backward);
void attention_packed_backward(Context& context, const AttentionPackedBackward& op) {
  HWY_DYNAMIC_DISPATCH(attention_packed_backward)(context, op);
}
}  // namespace r1::cpu
#endif
