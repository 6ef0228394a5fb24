// The tile instructions: AVX-512 computes what the manual says of them, and the hardware what AVX-512 computes.
#include "kernels/cpu/tiles.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "kernels/cpu/isa.h"
#include "kernels/tensor.h"

namespace r1::test {
namespace {

struct Case {
  uint16_t a[16][32], b[16][32];  // b: pairs of rows of k
  float c[16][16];
};

float widened(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

// When `wild`, of small numbers: products and sums pass through the least normal number, and half of c is denormal.
Case random_case(Rng& rng, bool wild) {
  Case x;
  const uint64_t exponents = 50 + rng.below(40);
  const auto draw = [&](uint64_t below) {
    const auto bits = static_cast<uint16_t>(rng.below(0x10000));
    return static_cast<uint16_t>((bits & 0x807f) | rng.below(below) << 7);
  };
  for (auto* half : {&x.a, &x.b})
    for (auto& row : *half)
      for (uint16_t& v : row) v = wild ? draw(exponents) : bf16_from_f32(static_cast<float>(rng.normal()));
  for (auto& row : x.c)
    for (float& v : row) v = wild ? widened(draw(rng.chance(0.5) ? 1 : 20)) : static_cast<float>(rng.normal());
  return x;
}

float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

// Of a rounded result: the hardware decides by the result as rounded with an exponent without bounds, so that what rounds up to
// the least normal number from below is zero too, or not; a result on that edge is not judged.
bool on_the_edge(double exact) { return std::abs(std::abs(exact) - std::ldexp(1.0, -126)) < std::ldexp(1.0, -149); }

struct Expected {
  float value;
  bool judged;
};

// As the manual has it, in plain numbers.
Expected expected(const Case& x, int m, int n) {
  float sums[2] = {0, 0};
  bool judged = true;
  const auto fma = [&](float p, float q, float sum) {
    p = flushed(p), q = flushed(q);
    judged = judged && !on_the_edge(static_cast<double>(p) * q + sum);
    return flushed(std::fma(p, q, sum));
  };
  for (int k = 0; k < 16; ++k)
    for (int i = 0; i < 2; ++i) sums[i] = fma(widened(x.a[m][2 * k + i]), widened(x.b[k][2 * n + i]), sums[i]);
  const float both = flushed(sums[0] + sums[1]), c = flushed(x.c[m][n]);
  return {flushed(c + both), judged};
}

template <class Tiles>
std::vector<float> dot(const Case& x) {
  Tiles tiles;
  tiles.template load<0>(x.c, 64);
  tiles.template load<5>(x.a, 64);
  tiles.template load<7>(x.b, 64);
  tiles.template dot<0, 5, 7>();
  std::vector<float> c(256);
  tiles.template store<0>(c.data(), 64);
  return c;
}

TEST(Tiles, of_software_are_what_the_manual_says) {
  if (!cpu::has_isa(cpu::Isa::amx_software)) GTEST_SKIP() << "no AVX512_BF16";
  Rng rng(7, "tiles");
  int denormal = 0, zeros = 0, judged = 0;
  for (int round = 0; round < 60; ++round) {
    const Case x = random_case(rng, round % 2 == 1);
    const std::vector<float> got = dot<cpu::SoftwareTiles>(x);
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 16; ++n) {
        const float value = got[static_cast<size_t>(m * 16 + n)];
        const Expected e = expected(x, m, n);
        denormal += std::fpclassify(value) == FP_SUBNORMAL;
        zeros += value == 0;
        if (!e.judged) continue;
        ++judged;
        ASSERT_EQ(std::memcmp(&value, &e.value, sizeof value), 0)
            << "round " << round << " [" << m << "," << n << "]: " << value << " instead of " << e.value;
      }
  }
  EXPECT_EQ(denormal, 0);
  EXPECT_GT(zeros, 100);
  EXPECT_GT(judged, 15000);
}

TEST(Tiles, of_the_hardware_have_the_bits_of_software) {
  if (!cpu::has_isa(cpu::Isa::amx)) GTEST_SKIP() << "no AMX";
  Rng rng(8, "tiles");
  for (int round = 0; round < 200; ++round) {
    const Case x = random_case(rng, round % 2 == 1);
    const std::vector<float> hard = dot<cpu::HardwareTiles>(x), soft = dot<cpu::SoftwareTiles>(x);
    ASSERT_EQ(std::memcmp(hard.data(), soft.data(), hard.size() * sizeof(float)), 0) << "round " << round;
  }
}

// One bit of 256 numbers is another.
struct LastBit : cpu::SoftwareTiles {
  template <int T>
  void store(void* to, int64_t stride) {
    cpu::SoftwareTiles::store<T>(to, stride);
    static_cast<uint32_t*>(to)[255] ^= 1;
  }
};

// A denormal number of c counts.
struct KeepsDenormals : cpu::SoftwareTiles {
  template <int T>
  void load(const void* from, int64_t stride) {
    cpu::SoftwareTiles::load<T>(from, stride);
    if (T == 0) std::memcpy(c, from, sizeof c);
  }
  template <int T>
  void store(void* to, int64_t stride) {
    cpu::SoftwareTiles::store<T>(to, stride);
    for (size_t i = 0; i < 256; ++i)
      if (std::fpclassify(c[i]) == FP_SUBNORMAL) static_cast<float*>(to)[i] += c[i] * 0x1p120f;
  }
  float c[256];
};

// The default set of a CPU is chosen by this.
TEST(Tiles, that_compute_otherwise_are_noticed_before_they_are_taken_unasked) {
  if (!cpu::has_isa(cpu::Isa::amx_software)) GTEST_SKIP() << "no AVX512_BF16";
  cpu::SoftwareTiles same;
  LastBit last_bit;
  KeepsDenormals keeps_denormals;
  EXPECT_TRUE(cpu::tiles_agree(same));
  EXPECT_FALSE(cpu::tiles_agree(last_bit));
  EXPECT_FALSE(cpu::tiles_agree(keeps_denormals));
}

TEST(Tiles, load_and_store_rows_that_lie_apart) {
  if (!cpu::has_isa(cpu::Isa::amx_software)) GTEST_SKIP() << "no AVX512_BF16";
  const bool hardware = cpu::has_isa(cpu::Isa::amx);
  std::vector<float> from(16 * 40), to(16 * 24, -1.0f);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i);
  const auto through = [&](auto tiles) {
    tiles.template load<3>(from.data(), 40 * 4);
    tiles.template store<3>(to.data(), 24 * 4);
    for (size_t r = 0; r < 16; ++r)
      for (size_t c = 0; c < 24; ++c) EXPECT_EQ(to[r * 24 + c], c < 16 ? from[r * 40 + c] : -1.0f);
    tiles.template zero<3>();
    tiles.template store<3>(to.data(), 24 * 4);
    EXPECT_EQ(to[0], 0.0f);
    EXPECT_EQ(to[15 * 24 + 15], 0.0f);
  };
  through(cpu::SoftwareTiles());
  if (hardware) {
    std::fill(to.begin(), to.end(), -1.0f);
    through(cpu::HardwareTiles());
  }
}

}  // namespace
}  // namespace r1::test
