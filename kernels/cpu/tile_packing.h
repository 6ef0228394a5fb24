// What brings bf16 numbers into the two forms that a product of tiles reads (kernels/cpu/tiles.h): a, sixteen rows of 32 of the
// summed index, and b, sixteen pairs of the summed index by sixteen columns. A tile is 1,024 bytes; tiles lie one behind
// another, one a step of 32 of the summed index, and what is missing at an edge is zero.
//
// Leading dimensions count elements. Only where there is AVX512_BF16 (kernels/cpu/isa.h). Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace r1::cpu {

// Of the summed index a tile: its step, and the bytes of that.
inline constexpr int64_t kTileStep = 32, kTileStepBytes = 64;
inline int64_t tile_steps(int64_t k) { return (k + kTileStep - 1) / kTileStep; }

// a, from up to sixteen rows of k.
void pack_rows(const uint16_t* a, int64_t lda, int64_t rows, int64_t k, std::byte* to);
// b, from up to sixteen columns, stored [columns, k].
void pack_transposed(const uint16_t* b, int64_t ldb, int64_t columns, int64_t k, std::byte* to);
// b, from up to sixteen columns, stored [k, columns].
void pack_plain(const uint16_t* b, int64_t ldb, int64_t columns, int64_t k, std::byte* to);
// A tile of pairs, or of sixteen by sixteen f32, with rows and columns exchanged: b becomes a. Its rows are then `stride`
// elements of 32 bits apart.
void turn_tile(const void* from, void* to, int64_t stride = 16);

}  // namespace r1::cpu
