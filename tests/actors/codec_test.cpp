#include "actors/codec.h"

#include <gtest/gtest.h>

#include <cmath>

#include "actors/training_plan.h"
#include "base/error.h"
#include "base/rng.h"
#include "tests/actors/expect_sequence.h"

namespace r1 {
namespace {

Sequence some_sequence(uint64_t seed) {
  Rng rng(seed, "sequence");
  Sequence s;
  const size_t n = 1 + rng.below(50);
  for (size_t i = 0; i < n; ++i) {
    s.tokens.push_back(static_cast<int32_t>(rng.below(100000)));
    s.trainable.push_back(rng.chance(0.5));
    s.behaviour_logp.push_back(static_cast<float>(rng.normal()));
    s.version.push_back(static_cast<int64_t>(rng.below(3)) - 1);
    s.exact.push_back(rng.chance(0.8));
  }
  return s;
}

TEST(Codec, sequences_and_batches_come_back_as_they_were) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Sequence s = some_sequence(seed);
    expect_equal(s, decode_sequence(encode_sequence(s)));
    BatchContent batch;
    batch.items.resize(3);
    batch.items[0] = {.draw = 7, .sample = 2, .advantage = -0.5f, .reference_logp = {1.f, 2.f}, .inline_sequence = {}};
    batch.items[1].inline_sequence = s;
    const BatchContent back = decode_batch(encode_batch(batch));
    ASSERT_EQ(back.items.size(), 3u);
    EXPECT_EQ(back.silent_sequences, 0);
    batch.silent_sequences = 24;
    batch.silent_tokens = 300;
    EXPECT_EQ(decode_batch(encode_batch(batch)).silent_sequences, 24);
    EXPECT_EQ(decode_batch(encode_batch(batch)).silent_tokens, 300);
    EXPECT_EQ(back.items[0].draw, 7);
    EXPECT_EQ(back.items[0].sample, 2);
    EXPECT_EQ(back.items[0].advantage, -0.5f);
    EXPECT_EQ(back.items[0].reference_logp, batch.items[0].reference_logp);
    expect_equal(back.items[1].inline_sequence, s);
  }
}

TEST(Codec, damaged_bytes_are_an_error_and_never_a_crash) {
  Rng rng(3, "damage");
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = encode_sequence(some_sequence(static_cast<uint64_t>(round)));
    if (rng.chance(0.5)) bytes.resize(rng.below(bytes.size()));
    if (!bytes.empty()) bytes[rng.below(bytes.size())] ^= static_cast<char>(1 + rng.below(255));
    try {
      decode_sequence(bytes);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::failed);
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(Advantages, are_normalised_in_the_group_and_zero_when_all_rewards_are_equal) {
  const auto a = group_advantages({1, 0, 0, 1});
  // mean .5, sample deviation sqrt(1/3)
  EXPECT_NEAR(a[0], 0.5 / (std::sqrt(1.0 / 3) + 1e-4), 1e-6);
  EXPECT_FLOAT_EQ(a[1], -a[0]);
  EXPECT_EQ(group_advantages({0.7, 0.7}), (std::vector<float>{0.f, 0.f}));
}

// Rewards 1, 0, 0, 0: mean 1/4. Without the division (Dr.GRPO) an easy and a hard question weigh alike: 3/4, -1/4. With it:
// sample deviation sqrt((9/16 + 3/16) / 3) = 1/2.
TEST(Advantages, are_only_centred_when_the_deviation_is_left_out) {
  EXPECT_EQ(group_advantages({1, 0, 0, 0}, false), (std::vector<float>{0.75f, -0.25f, -0.25f, -0.25f}));
  EXPECT_NEAR(group_advantages({1, 0, 0, 0}, true)[0], 0.75 / (0.5 + 1e-4), 1e-6);
  EXPECT_EQ(group_advantages({0.7, 0.7}, false), (std::vector<float>{0.f, 0.f}));
}

}  // namespace
}  // namespace r1
