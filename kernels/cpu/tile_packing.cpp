#include "kernels/cpu/tile_packing.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/tiles.h"

namespace r1::cpu {

void pack_rows(const uint16_t* a, int64_t lda, int64_t rows, int64_t k, std::byte* to) {
  if (rows < kTileRows || k % kTileStep != 0) std::memset(to, 0, static_cast<size_t>(tile_steps(k) * kTileBytes));
  for (int64_t i = 0; i < k; i += kTileStep, to += kTileBytes) {
    const auto bytes = static_cast<size_t>(std::min(k - i, kTileStep)) * sizeof(uint16_t);
    for (int64_t r = 0; r < std::min(rows, kTileRows); ++r) std::memcpy(to + r * kTileStepBytes, a + r * lda + i, bytes);
  }
}

R1_BF16_TARGET void pack_transposed(const uint16_t* b, int64_t ldb, int64_t columns, int64_t k, std::byte* to) {
  auto* out = reinterpret_cast<uint32_t*>(to);
  for (int64_t i = 0; i < k; i += kTileStep, out += 256) {
    if (columns >= 16 && i + kTileStep <= k) {
      transpose(b + i, ldb, out, 16);
      continue;
    }
    alignas(64) uint16_t edge[16 * kTileStep] = {};
    for (int64_t c = 0; c < std::min<int64_t>(columns, 16); ++c)
      std::memcpy(edge + c * kTileStep, b + c * ldb + i, static_cast<size_t>(std::min(k - i, kTileStep)) * sizeof(uint16_t));
    transpose(edge, kTileStep, out, 16);
  }
}

R1_BF16_TARGET void pack_plain(const uint16_t* b, int64_t ldb, int64_t columns, int64_t k, std::byte* to) {
  const __mmask16 used = first(columns);
  for (int64_t i = 0; i < tile_steps(k) * kTileStep; i += 2, to += kTileStepBytes) {
    const uint16_t* const row = b + i * ldb;
    _mm512_store_si512(to, interleave(i < k ? row : nullptr, i + 1 < k ? row + ldb : nullptr, used));
  }
}

R1_BF16_TARGET void turn_tile(const void* from, void* to, int64_t stride) {
  transpose(static_cast<const uint16_t*>(from), kTileStep, static_cast<uint32_t*>(to), stride);
}

}  // namespace r1::cpu
