#include "base/rng.h"

#include <gtest/gtest.h>

#include <vector>

namespace r1 {
namespace {

// Known answers from the Random123 distribution (kat_vectors: philox4x32-10).
TEST(Rng, philox_gives_the_published_known_answers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, keys_differ_when_any_id_or_the_purpose_differs) {
  const uint64_t k = rng_key(1, "sample", 2, 3, 4);
  EXPECT_EQ(k, rng_key(1, "sample", 2, 3, 4));
  EXPECT_NE(k, rng_key(2, "sample", 2, 3, 4));
  EXPECT_NE(k, rng_key(1, "prompt", 2, 3, 4));
  EXPECT_NE(k, rng_key(1, "sample", 3, 2, 4));
  EXPECT_NE(k, rng_key(1, "sample", 2, 3, 5));
}

TEST(Rng, below_is_in_range_and_roughly_uniform) {
  Rng rng(7, "below");
  std::vector<int> count(6);
  for (int i = 0; i < 60000; ++i) ++count[rng.below(6)];
  for (int c : count) EXPECT_NEAR(c, 10000, 500);
}

TEST(Rng, normal_has_zero_mean_and_unit_variance) {
  Rng rng(7, "normal");
  double sum = 0, squares = 0;
  constexpr int n = 100000;
  for (int i = 0; i < n; ++i) {
    const double x = rng.normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / n, 0, 0.02);
  EXPECT_NEAR(squares / n, 1, 0.02);
}

TEST(Rng, pick_follows_its_weights) {
  Rng rng(7, "pick");
  std::vector<int> count(3);
  for (int i = 0; i < 40000; ++i) ++count[rng.pick(std::vector<double>{1, 2, 1})];
  EXPECT_NEAR(count[0], 10000, 500);
  EXPECT_NEAR(count[1], 20000, 500);
  EXPECT_NEAR(count[2], 10000, 500);
}

}  // namespace
}  // namespace r1
