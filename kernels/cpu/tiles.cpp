#include "kernels/cpu/tiles.h"

#include <bit>
#include <cstring>

#include "base/rng.h"
#include "kernels/cpu/bf16-inl.h"
#include "kernels/tensor.h"

namespace r1::cpu {
namespace {

// Of ldtilecfg. Source: Intel SDM, "Tile configuration".
struct alignas(64) Configuration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

}  // namespace

NoDenormals::NoDenormals() : before_(_mm_getcsr()) {
  constexpr unsigned kMasked = 0x1f80, kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
  _mm_setcsr(kMasked | kFlushToZero | kDenormalsAreZero);
}
NoDenormals::~NoDenormals() { _mm_setcsr(before_); }

HardwareTiles::HardwareTiles() {
  static const Configuration whole = [] {
    Configuration c;
    for (int t = 0; t < 8; ++t) c.row_bytes[t] = 64, c.rows[t] = kTileRows;
    return c;
  }();
  asm volatile("ldtilecfg %0" ::"m"(whole) : "memory");
}

void SoftwareTiles::zero(int t) { std::memset(tile_[t], 0, sizeof tile_[t]); }

void SoftwareTiles::load(int t, const void* from, int64_t stride) {
  for (int64_t r = 0; r < kTileRows; ++r) std::memcpy(tile_[t][r], static_cast<const char*>(from) + r * stride, 64);
}

void SoftwareTiles::store(int t, void* to, int64_t stride) const {
  for (int64_t r = 0; r < kTileRows; ++r) std::memcpy(static_cast<char*>(to) + r * stride, tile_[t][r], 64);
}

R1_BF16_TARGET void SoftwareTiles::dot(int c, int a, int b) {
  const NoDenormals mode;
  asm volatile("" ::: "memory");  // what follows is loaded, computed and stored in that mode
  for (int64_t m = 0; m < kTileRows; m += 4) {
    __m512 even[4], odd[4];
    for (int i = 0; i < 4; ++i) even[i] = odd[i] = _mm512_setzero_ps();
    for (int k = 0; k < 16; ++k) {
      const Pairs bk = _mm512_load_si512(tile_[b][k]);
      const __m512 b_even = even_of(bk), b_odd = odd_of(bk);
      for (int i = 0; i < 4; ++i) {
        const Pairs am = _mm512_set1_epi32(static_cast<int>(tile_[a][m + i][k]));
        even[i] = _mm512_fmadd_ps(even_of(am), b_even, even[i]);
        odd[i] = _mm512_fmadd_ps(odd_of(am), b_odd, odd[i]);
      }
    }
    for (int i = 0; i < 4; ++i) {
      const __m512 sum = _mm512_add_ps(even[i], odd[i]);
      _mm512_store_ps(tile_[c][m + i], _mm512_add_ps(_mm512_load_ps(tile_[c][m + i]), sum));
    }
  }
  asm volatile("" ::: "memory");
}

TileOperands random_tile_operands(uint64_t seed, bool denormals) {
  Rng rng(seed, "operands of tiles");
  TileOperands x;
  const auto value = [&] { return static_cast<float>(rng.normal()); };
  const auto small = [&] { return denormals && rng.below(8) == 0; };
  const auto half = [&] { return small() ? static_cast<uint16_t>(1 + rng.below(0x7f)) : bf16_from_f32(value()); };
  for (auto* const operand : {&x.a, &x.b})
    for (auto& row : *operand)
      for (uint32_t& pair : row) {
        const uint32_t low = half();
        pair = low | static_cast<uint32_t>(half()) << 16;
      }
  for (auto& row : x.c)
    for (uint32_t& bits : row)
      bits = small() ? 1 + static_cast<uint32_t>(rng.below(0x7fffff)) : std::bit_cast<uint32_t>(value());
  return x;
}

}  // namespace r1::cpu
