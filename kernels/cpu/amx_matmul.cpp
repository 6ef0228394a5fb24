#include "kernels/cpu/amx_matmul.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/tile_packing.h"
#include "kernels/cpu/tiles.h"

namespace r1::cpu {
namespace {

// Tiles of c that are summed together: 2 by 2, so that a tile that is loaded serves two products; where b is one tile wide and
// a comes from memory, 4 by 1. The other four registers are operands.
constexpr int64_t kRowsTogether = 32, kRowsOfColumn = 64;
// Tokens of a weight product that are packed together: what the second-level cache holds.
constexpr int64_t kTokens = 1024;

// Tiles of a: block b of sixteen rows, step s of k lies at base + b * block + s * step.
struct RowTiles {
  const std::byte* base;
  int64_t block, step, stride;  // bytes; stride: from row to row of a tile
};

// Rows [m, m + rows) of a, made up to `whole` rows. In place where that is possible, else a copy in `edge`.
RowTiles row_tiles(const Bf16Matmul& x, int64_t m, int64_t rows, int64_t whole, std::byte* edge) {
  if (rows == whole && x.k % kTileStep == 0)
    return {reinterpret_cast<const std::byte*>(x.a + m * x.lda), x.lda * kTileRows * 2, kTileStepBytes, x.lda * 2};
  const int64_t line = tile_steps(x.k) * kTileStepBytes;
  std::memset(edge, 0, static_cast<size_t>(line * whole));
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(edge + r * line, x.a + (m + r) * x.lda, static_cast<size_t>(x.k) * sizeof(uint16_t));
  return {edge, line * kTileRows, kTileStepBytes, line};
}

// Rows that are asked for while others are multiplied: 64 bytes of each a step.
struct Ahead {
  const std::byte* rows = nullptr;
  int64_t stride = 0;
};
template <int kCount>
inline void fetch(const Ahead& ahead, int64_t step) {
  if (!ahead.rows) return;
#pragma GCC unroll 16
  for (int r = 0; r < kCount; ++r) _mm_prefetch(ahead.rows + r * ahead.stride + step * kTileStepBytes, _MM_HINT_T0);
}

// Tiles 0 to 3 += MB blocks of rows times NB parts of b, `part` bytes apart: tile i * NB + j, or i * 2 + j where NB is 2.
template <int MB, int NB, class Tiles>
inline __attribute__((always_inline)) void multiply(Tiles& tiles, const RowTiles& a, const std::byte* b, int64_t part,
                                                    int64_t steps, const Ahead& ahead) {
  static_assert((MB <= 2 && NB <= 2) || (MB == 4 && NB == 1));
  const std::byte* a0 = a.base;
  for (int64_t s = 0; s < steps; ++s, a0 += a.step, b += kTileBytes) {
    fetch<kTileRows * MB>(ahead, s);
    tiles.template load<6>(b, kTileStepBytes);
    tiles.template load<4>(a0, a.stride);
    tiles.template dot<0, 4, 6>();
    if constexpr (MB == 4) {
      tiles.template load<5>(a0 + a.block, a.stride);
      tiles.template dot<1, 5, 6>();
      tiles.template load<7>(a0 + 2 * a.block, a.stride);
      tiles.template dot<2, 7, 6>();
      tiles.template load<4>(a0 + 3 * a.block, a.stride);
      tiles.template dot<3, 4, 6>();
    } else {
      if constexpr (NB == 2) {
        tiles.template load<7>(b + part, kTileStepBytes);
        tiles.template dot<1, 4, 7>();
      }
      if constexpr (MB == 2) {
        tiles.template load<5>(a0 + a.block, a.stride);
        tiles.template dot<2, 5, 6>();
        if constexpr (NB == 2) tiles.template dot<3, 5, 7>();
      }
    }
  }
}
template <class Tiles>
void multiply(Tiles& tiles, bool two_blocks, bool two_parts, const RowTiles& a, const std::byte* b, int64_t part, int64_t steps,
              const Ahead& ahead = {}) {
  if (two_blocks)
    two_parts ? multiply<2, 2>(tiles, a, b, part, steps, ahead) : multiply<2, 1>(tiles, a, b, part, steps, ahead);
  else
    two_parts ? multiply<1, 2>(tiles, a, b, part, steps, ahead) : multiply<1, 1>(tiles, a, b, part, steps, ahead);
}

template <class Tiles>
void zero_sums(Tiles& tiles) {
  tiles.template zero<0>();
  tiles.template zero<1>();
  tiles.template zero<2>();
  tiles.template zero<3>();
}

struct Sums {
  alignas(64) float tile[4][kTileFloats];
};
template <class Tiles>
void take_sums(Tiles& tiles, Sums& sums) {
  tiles.template store<0>(sums.tile[0], kTileStepBytes);
  tiles.template store<1>(sums.tile[1], kTileStepBytes);
  tiles.template store<2>(sums.tile[2], kTileStepBytes);
  tiles.template store<3>(sums.tile[3], kTileStepBytes);
}

// One row of a tile to `columns` elements of c that begin at element `at`.
R1_BF16_INLINE void finish_row(const Bf16Matmul& x, __m512 sum, const __m512* bias, int64_t at, __mmask16 columns) {
  if (bias) sum = _mm512_add_ps(sum, *bias);
  if (x.c_type == DType::f32) {
    float* const c = static_cast<float*>(x.c) + at;
    if (x.accumulate) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(columns, c), sum);
    _mm512_mask_storeu_ps(c, columns, sum);
  } else {
    uint16_t* const c = static_cast<uint16_t*>(x.c) + at;
    if (x.accumulate) sum = _mm512_add_ps(widen(_mm256_maskz_loadu_epi16(columns, c)), sum);
    _mm256_mask_storeu_epi16(c, columns, (__m256i)_mm512_cvtneps_pbh(sum));
  }
}

// A tile of sums of rows [m, m + rows) of a and columns [n, n + columns) of b; at most sixteen of each are of this tile.
R1_BF16_TARGET void finish(const Bf16Matmul& x, const float* tile, int64_t m, int64_t rows, int64_t n, int64_t columns) {
  // A row of c goes along the columns of b, or, transposed, along the rows of a.
  alignas(64) float turned[kTileFloats];
  if (x.c_transposed) {
    turn_tile(tile, turned);
    tile = turned;
    std::swap(m, n);
    std::swap(rows, columns);
  }
  const __mmask16 used = first(columns);
  const __m512 bias = x.bias ? widen(_mm256_maskz_loadu_epi16(used, x.bias + n)) : _mm512_setzero_ps();
  for (int64_t r = 0; r < std::min(rows, kTileRows); ++r)
    finish_row(x, _mm512_load_ps(tile + r * 16), x.bias ? &bias : nullptr, (m + r) * x.ldc + n, used);
}

template <class Tiles>
class MatmulOnTiles {
 public:
  explicit MatmulOnTiles(const Bf16Matmul& x)
      : x_(x), steps_(tile_steps(x.k)), parts_((x.n + 15) / 16), part_bytes_(steps_ * kTileBytes) {
    // Transposed b is narrow, packed once and met by every row of a; else it is wide and packed two parts at a time.
    const int64_t packed = x.c_transposed ? parts_ : 2;
    memory_ =
        scratch_bytes(ScratchSlot::matmul, static_cast<size_t>(packed * part_bytes_ + kRowsOfColumn * steps_ * kTileStepBytes));
    edge_ = memory_ + packed * part_bytes_;
  }

  void run() {
    if (!x_.c_transposed) {
      for (int64_t p = 0; p < parts_; p += 2) {
        pack(p, memory_);
        if (p + 1 < parts_) pack(p + 1, memory_ + part_bytes_);
        for (int64_t m = 0; m < x_.m; m += kRowsTogether) block_of_rows(m, p, memory_, {});
      }
      return;
    }
    for (int64_t p = 0; p < parts_; ++p) pack(p, memory_ + p * part_bytes_);
    if (parts_ == 1) return one_column();
    for (int64_t m = 0; m < x_.m; m += kRowsTogether)
      for (int64_t p = 0; p < parts_; p += 2)
        block_of_rows(m, p, memory_ + p * part_bytes_, p == 0 ? rows_after(m, kRowsTogether) : Ahead{});
  }

 private:
  void pack(int64_t p, std::byte* to) const {
    const int64_t columns = x_.n - p * 16;
    if (x_.trans_b)
      pack_transposed(x_.b + p * 16 * x_.ldb, x_.ldb, columns, x_.k, to);
    else
      pack_plain(x_.b + p * 16, x_.ldb, columns, x_.k, to);
  }

  // The `count` rows of a behind those that begin at m, if there are so many.
  Ahead rows_after(int64_t m, int64_t count) const {
    if (m + 2 * count > x_.m || x_.k % kTileStep != 0) return {};
    return {reinterpret_cast<const std::byte*>(x_.a + (m + count) * x_.lda), x_.lda * 2};
  }

  // Up to 32 rows from m by up to 32 columns from part p.
  void block_of_rows(int64_t m, int64_t p, const std::byte* b, const Ahead& ahead) {
    const int64_t rows = std::min(kRowsTogether, x_.m - m);
    const bool two_blocks = rows > kTileRows, two_parts = p + 1 < parts_;
    const RowTiles a = row_tiles(x_, m, rows, two_blocks ? 2 * kTileRows : kTileRows, edge_);
    zero_sums(tiles_);
    multiply(tiles_, two_blocks, two_parts, a, b, part_bytes_, steps_, ahead);
    take_sums(tiles_, sums_);
    for (int64_t i = 0; i < (two_blocks ? 2 : 1); ++i)
      for (int64_t j = 0; j < (two_parts ? 2 : 1); ++j)
        finish(x_, sums_.tile[i * 2 + j], m + i * kTileRows, rows - i * kTileRows, (p + j) * 16, x_.n - (p + j) * 16);
  }

  void one_column() {
    for (int64_t m = 0; m < x_.m; m += kRowsOfColumn) {
      const int64_t rows = std::min(kRowsOfColumn, x_.m - m);
      if (rows < kRowsOfColumn) {
        for (int64_t r = 0; r < rows; r += kRowsTogether) block_of_rows(m + r, 0, memory_, {});
        return;
      }
      const RowTiles a = row_tiles(x_, m, rows, kRowsOfColumn, edge_);
      zero_sums(tiles_);
      multiply<4, 1>(tiles_, a, memory_, 0, steps_, rows_after(m, kRowsOfColumn));
      take_sums(tiles_, sums_);
      for (int64_t i = 0; i < 4; ++i) finish(x_, sums_.tile[i], m + i * kTileRows, kTileRows, 0, x_.n);
    }
  }

  const Bf16Matmul& x_;
  int64_t steps_, parts_, part_bytes_;
  std::byte *memory_, *edge_;
  Tiles tiles_;
  Sums sums_;
};

// Tile (i, j) of four to or from dw, which has `rows` rows and `columns` columns from there.
void copy_sums(Sums& sums, float* dw, int64_t ld, int64_t rows, int64_t columns, bool out) {
  for (int64_t r = 0; r < std::min<int64_t>(rows, 32); ++r)
    for (int64_t j = 0; j * 16 < columns && j < 2; ++j) {
      float* const sum = sums.tile[r / kTileRows * 2 + j] + r % kTileRows * 16;
      float* const at = dw + r * ld + j * 16;
      const size_t bytes = static_cast<size_t>(std::min<int64_t>(columns - j * 16, 16)) * sizeof(float);
      out ? std::memcpy(at, sum, bytes) : std::memcpy(sum, at, bytes);
    }
}

template <class Tiles>
void weight_product_on(const Bf16WeightProduct& w) {
  Tiles tiles;
  Sums sums{};
  const int64_t blocks = (w.n + kTileRows - 1) / kTileRows, most = tile_steps(std::min(w.t, kTokens));
  std::byte* const rows = scratch_bytes(ScratchSlot::matmul, static_cast<size_t>((blocks + 2) * most * kTileBytes));
  for (int64_t t0 = 0; t0 < w.t; t0 += kTokens) {
    const int64_t depth = std::min(kTokens, w.t - t0), steps = tile_steps(depth);
    std::byte* const panel = rows + blocks * most * kTileBytes;
    // dy transposed, as tiles of sixteen rows n and 32 tokens.
    for (int64_t b = 0; b < blocks; ++b)
      for (int64_t s = 0; s < steps; ++s) {
        alignas(64) std::byte pairs[kTileBytes];
        const int64_t t = t0 + s * kTileStep;
        pack_plain(w.dy + t * w.ld_dy + b * 16, w.ld_dy, w.n - b * 16, std::min(kTileStep, t0 + depth - t), pairs);
        turn_tile(pairs, rows + (b * steps + s) * kTileBytes);
      }
    for (int64_t c = 0; c < w.k; c += 32) {
      const bool two_parts = c + 16 < w.k;
      for (int64_t j = 0; j < (two_parts ? 2 : 1); ++j)
        pack_plain(w.x + t0 * w.ld_x + c + j * 16, w.ld_x, w.k - c - j * 16, depth, panel + j * steps * kTileBytes);
      for (int64_t b = 0; b < blocks; b += 2) {
        float* const dw = w.dw + b * kTileRows * w.ld_dw + c;
        const int64_t n = w.n - b * kTileRows;
        // A whole block of dw is summed where it lies; at the edges in a copy.
        const bool whole = n >= kRowsTogether && c + 32 <= w.k;
        if (!whole) copy_sums(sums, dw, w.ld_dw, n, w.k - c, false);
        float* const at = whole ? dw : sums.tile[0];
        const int64_t line = whole ? w.ld_dw * 4 : kTileStepBytes, right = whole ? 16 : kTileFloats;
        const int64_t below = whole ? kTileRows * w.ld_dw : 2 * kTileFloats;
        tiles.template load<0>(at, line);
        tiles.template load<1>(at + right, line);
        tiles.template load<2>(at + below, line);
        tiles.template load<3>(at + below + right, line);
        multiply(tiles, n > kTileRows, two_parts,
                 {rows + b * steps * kTileBytes, steps * kTileBytes, kTileBytes, kTileStepBytes}, panel, steps * kTileBytes,
                 steps);
        tiles.template store<0>(at, line);
        tiles.template store<1>(at + right, line);
        tiles.template store<2>(at + below, line);
        tiles.template store<3>(at + below + right, line);
        if (!whole) copy_sums(sums, dw, w.ld_dw, n, w.k - c, true);
      }
    }
  }
}

}  // namespace

void tile_matmul(const Bf16Matmul& x) {
  if (isa() == Isa::amx)
    MatmulOnTiles<HardwareTiles>(x).run();
  else
    MatmulOnTiles<SoftwareTiles>(x).run();
}

void tile_weight_product(const Bf16WeightProduct& w) {
  isa() == Isa::amx ? weight_product_on<HardwareTiles>(w) : weight_product_on<SoftwareTiles>(w);
}

}  // namespace r1::cpu
