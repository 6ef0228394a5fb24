// Attention by products of tiles (kernels/cpu/tiles.h): packed, paged and backward, in bf16, where the instruction set has tiles.
//
// A block is 32 keys, the step of a product. Per row, whatever the rows beside it: scores are a tile's chain over d; the softmax
// is online (running max, accumulator over Dv rescaled at every block, where a factor of 1 may be left out); what a block adds
// to the sum is a fixed tree over its keys; probabilities, and in the backward pass their gradients, are rounded to bf16, as
// tiles take nothing else; values are a tile's chain over the keys of a block. Packed attention has sixteen queries side by
// side, in lanes, so that nothing is summed across lanes; paged attention has few rows, reads keys once, and does what a tile
// does by fused multiply-adds. Denormal numbers are zero in all of it. Source: Dao et al. 2022, algorithms 1 and 4.
// Legend as in attention-inl.h. To be included after hwy/foreach_target.h, once per target; of use with AVX-512 alone.
// Thread rule: pure functions.
#if defined(R1_CPU_ATTENTION_TILES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef R1_CPU_ATTENTION_TILES_INL_H
#undef R1_CPU_ATTENTION_TILES_INL_H
#else
#define R1_CPU_ATTENTION_TILES_INL_H
#endif

#include <cmath>
#include <limits>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/tile_packing.h"
#include "kernels/cpu/tiles.h"
#include "kernels/ops.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

inline constexpr int64_t kTileKeys = kTileStep;
static_assert(kTileKeys == 2 * kKeyBlock, "a block of tiles is two pages");

// Whether tiles compute attention on numbers of this type.
inline bool attends_by_tiles(DType t) {
#if HWY_TARGET == HWY_AVX3
  return t == DType::bf16 && uses_tiles(isa());
#else
  (void)t;
  return false;
#endif
}

// s [32][16 QT] = two tiles of rows, `steps` long each, times QT tiles of columns.
template <int QT, class Tiles>
HWY_INLINE void tile_products(Tiles& tiles, const std::byte* rows, const std::byte* columns, int64_t steps, float* s) {
  constexpr int64_t kLine = QT * kTileStepBytes;
  const std::byte* const low = rows + steps * kTileBytes;
  tiles.template zero<0>();
  tiles.template zero<1>();
  if constexpr (QT == 2) {
    tiles.template zero<2>();
    tiles.template zero<3>();
  }
  for (int64_t i = 0; i < steps; ++i) {
    tiles.template load<6>(columns + i * kTileBytes, kTileStepBytes);
    tiles.template load<4>(rows + i * kTileBytes, kTileStepBytes);
    tiles.template dot<0, 4, 6>();
    tiles.template load<5>(low + i * kTileBytes, kTileStepBytes);
    tiles.template dot<1, 5, 6>();
    if constexpr (QT == 2) {
      tiles.template load<7>(columns + (steps + i) * kTileBytes, kTileStepBytes);
      tiles.template dot<2, 4, 7>();
      tiles.template dot<3, 5, 7>();
    }
  }
  tiles.template store<0>(s, kLine);
  tiles.template store<1>(s + kTileRows * 16 * QT, kLine);
  if constexpr (QT == 2) {
    tiles.template store<2>(s + 16, kLine);
    tiles.template store<3>(s + kTileRows * 16 * QT + 16, kLine);
  }
}

// Tile i of `count`, at c + i * c_step floats in lines of c_line bytes, += a's tile i times the one tile b.
template <class Tiles>
HWY_INLINE void add_tile_products(Tiles& tiles, float* c, int64_t c_step, int64_t c_line, const std::byte* a, const std::byte* b,
                                  int64_t count) {
  tiles.template load<6>(b, kTileStepBytes);
  int64_t i = 0;
  for (; i + 2 <= count; i += 2, c += 2 * c_step, a += 2 * kTileBytes) {
    tiles.template load<0>(c, c_line);
    tiles.template load<1>(c + c_step, c_line);
    tiles.template load<4>(a, kTileStepBytes);
    tiles.template dot<0, 4, 6>();
    tiles.template load<5>(a + kTileBytes, kTileStepBytes);
    tiles.template dot<1, 5, 6>();
    tiles.template store<0>(c, c_line);
    tiles.template store<1>(c + c_step, c_line);
  }
  if (i == count) return;
  tiles.template load<0>(c, c_line);
  tiles.template load<4>(a, kTileStepBytes);
  tiles.template dot<0, 4, 6>();
  tiles.template store<0>(c, c_line);
}
// The same, of one tile of a times the tiles of b.
template <class Tiles>
HWY_INLINE void add_products_of_row(Tiles& tiles, float* c, int64_t c_step, int64_t c_line, const std::byte* a,
                                    const std::byte* b, int64_t count) {
  tiles.template load<4>(a, kTileStepBytes);
  for (int64_t i = 0; i < count; ++i, c += c_step, b += kTileBytes) {
    tiles.template load<0>(c, c_line);
    tiles.template load<6>(b, kTileStepBytes);
    tiles.template dot<0, 4, 6>();
    tiles.template store<0>(c, c_line);
  }
}

// Sixteen lanes of two keys as bf16 pairs, rounded to nearest even.
HWY_INLINE void store_pairs16(uint32_t* to, F16 even, F16 odd) {
  R1_PARTS {
    const auto low = hn::PromoteTo(DU(), narrow(even.v[i])), high = hn::PromoteTo(DU(), narrow(odd.v[i]));
    hn::StoreU(hn::Or(low, hn::ShiftLeft<16>(high)), DU(), to + i * kLanes);
  }
}

// The columns of sixteen rows, [columns][k] in memory, as tiles of a of their transpose: block c of sixteen columns lies at
// to + c * step. `rows` of 32 are there.
inline void pack_turned(const uint16_t* rows_of, int64_t ld, int64_t rows, int64_t columns, int64_t step, std::byte* to) {
  alignas(64) std::byte pairs[kTileBytes];
  for (int64_t c = 0; c < columns; c += 16, to += step) {
    pack_plain(rows_of + c, ld, columns - c, rows, pairs);
    turn_tile(pairs, to);
  }
}

// Up to sixteen rows, `ld` apart and n wide, from tiles [16 of n][16 rows], every lane times `factor`.
HWY_INLINE void store_turned(const float* tiles, int64_t tile_step, F16 factor, uint16_t* to, int64_t ld, int64_t rows,
                             int64_t n) {
  alignas(64) float scaled[kTileFloats], turned[kTileFloats];
  for (int64_t c = 0; c < n; c += 16, tiles += tile_step) {
    for (int64_t i = 0; i < 16; ++i) store16(scaled + i * 16, load16(tiles + i * 16) * factor);
    turn_tile(scaled, turned);
    for (int64_t r = 0; r < rows; ++r) store16(to + r * ld + c, load16(turned + r * 16), n - c);
  }
}

// The sum over a block's 32 keys, sixteen rows side by side: the order in which sum16(low + high) adds lanes.
HWY_INLINE F16 sum_of_keys(const float* p) {
  F16 t[8];
  R1_UNROLL for (int i = 0; i < 8; ++i) t[i] =
      (load16(p + i * 16) + load16(p + (i + 16) * 16)) + (load16(p + (i + 8) * 16) + load16(p + (i + 24) * 16));
  return ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]));
}

// Sixteen rows between blocks, in lanes.
struct RowsInLanes {
  F16 max, sum;
  HWY_INLINE void start() {
    max = set16(-std::numeric_limits<float>::infinity());
    sum = zero16();
  }

  // s [32][16]: the scores of a block, in place its probabilities, and as bf16 pairs in `pairs` [16][16]. Of row r the keys
  // before live + r count. Returns by what the accumulator is to be multiplied.
  HWY_INLINE F16 add_block(float* s, int64_t live, float scale, uint32_t* pairs) {
    const F16 scale16 = set16(scale), nothing = set16(-std::numeric_limits<float>::infinity());
    F16 block_max = nothing;
    for (int64_t j = 0; j < kTileKeys; ++j) {
      F16 x = load16(s + j * 16) * scale16;
      if (j >= live) x = select16(first16(j - live + 1), nothing, x);
      store16(s + j * 16, x);
      block_max = max16(block_max, x);
    }
    const F16 new_max = max16(max, block_max), correction = exp16(max - new_max);
    max = new_max;
    for (int64_t j = 0; j < kTileKeys; j += 2) {
      const F16 even = exp16(load16(s + j * 16) - max), odd = exp16(load16(s + (j + 1) * 16) - max);
      store16(s + j * 16, even);
      store16(s + (j + 1) * 16, odd);
      store_pairs16(pairs + j / 2 * 16, even, odd);
    }
    sum = fma16(sum, correction, sum_of_keys(s));
    return correction;
  }
};
HWY_INLINE bool all_one(F16 x) {
  bool one = true;
  R1_PARTS one = one && hn::AllTrue(DF(), hn::Eq(x.v[i], hn::Set(DF(), 1.0f)));
  return one;
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
