#include "models/version_delta.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "models/finite.h"
#include <algorithm>

#include "tests/models/generation/random_models.h"

namespace r1 {
namespace {

using testing::random_model_config;
using testing::random_weights;

class VersionDeltaTest : public ::testing::TestWithParam<DType> {
 protected:
  Device& device = open_device("cpu");
  ModelConfig config = random_model_config(Architecture::qwen2);
  DType dtype = GetParam();
  std::shared_ptr<WeightSet> first = random_weights(device, config, dtype, 1);

  // `from` with a share of its values stepped by up to `ulps` units in the last place.
  std::shared_ptr<WeightSet> stepped(const WeightSet& from, double share, uint64_t ulps, uint64_t seed) {
    auto next = std::make_shared<WeightSet>(device, config, dtype);
    Rng rng(seed, "step");
    const auto change = [&]<class Bits>(Bits) {
      for (size_t i = 0; i < from.specs().size(); ++i) {
        auto host = download_as<Bits>(from.param(i));
        for (Bits& b : host)
          if (rng.chance(share)) {
            const auto other = static_cast<Bits>(b + rng.below(2 * ulps + 1) - ulps);
            if (first_not_finite(&other, 1, sizeof(Bits) == 2 ? "BF16" : "F32") < 0) b = other;
          }
        upload(next->param(i), host);
      }
    };
    if (dtype == DType::bf16)
      change(uint16_t{});
    else
      change(uint32_t{});
    return next;
  }
  size_t raw_bytes() const { return static_cast<size_t>(first->flat().size()) * dtype_size(dtype); }
};

TEST_P(VersionDeltaTest, a_version_with_a_nan_is_not_published_and_names_its_tensor) {
  const auto next = stepped(*first, 0.1, 1, 3);
  Context ctx(device);
  run(ctx, Fill{next->param(next->specs().size() - 1).slice(2, 3), std::numeric_limits<float>::quiet_NaN()});
  for (const WeightSet* previous : {static_cast<const WeightSet*>(nullptr), static_cast<const WeightSet*>(first.get())}) {
    try {
      encode_delta(previous, previous ? 11 : -1, *next, 12);
      ADD_FAILURE() << "published";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::failed);
      EXPECT_NE(e.message().find("version 12 is not finite: tensor '" + next->specs().back().name + "' holds nan at [2"),
                std::string::npos)
          << e.message();
    }
  }
}

TEST_P(VersionDeltaTest, what_is_encoded_is_applied_bit_by_bit) {
  for (const double share : {0.0, 0.0001, 0.01, 0.1, 0.45, 1.0}) {
    for (const uint64_t ulps : {uint64_t{1}, uint64_t{100}, uint64_t{60'000}}) {
      const auto next = stepped(*first, share, ulps, 7);
      const VersionDelta delta = encode_delta(first.get(), 4, *next, 5);
      EXPECT_EQ(delta.to, 5);
      EXPECT_EQ(delta.hash, next->hash());
      EXPECT_TRUE(delta.from == 4 || delta.full());
      const auto applied = apply_delta(delta.full() ? nullptr : first.get(), delta, config, device, dtype);
      EXPECT_EQ(applied->hash(), next->hash()) << "share " << share << " ulps " << ulps;
    }
  }
}

TEST_P(VersionDeltaTest, few_changes_make_few_bytes_and_total_change_is_sent_in_full) {
  EXPECT_LT(encode_delta(first.get(), 0, *stepped(*first, 0, 1, 1), 1).bytes(), 64u);
  const auto sparse = encode_delta(first.get(), 0, *stepped(*first, 0.01, 1, 1), 1);
  EXPECT_LT(sparse.bytes(), raw_bytes() / 30);
  const auto dense = encode_delta(first.get(), 0, *stepped(*first, 0.45, 2, 1), 1);
  EXPECT_FALSE(dense.full());
  EXPECT_LT(static_cast<double>(dense.bytes()), 0.35 * static_cast<double>(raw_bytes()));
  const auto unlike = encode_delta(first.get(), 0, *random_weights(device, config, dtype, 99), 1);
  EXPECT_TRUE(unlike.full());
  EXPECT_LT(unlike.bytes(), raw_bytes() + 64);
}

TEST_P(VersionDeltaTest, a_snapshot_needs_no_previous_version) {
  const VersionDelta snapshot = encode_delta(nullptr, -1, *first, 3);
  EXPECT_TRUE(snapshot.full());
  EXPECT_EQ(apply_delta(nullptr, snapshot, config, device, dtype)->hash(), first->hash());
  EXPECT_EQ(apply_delta(stepped(*first, 1, 9, 2).get(), snapshot, config, device, dtype)->hash(), first->hash());
}

TEST_P(VersionDeltaTest, special_values_travel_unchanged) {
  auto next = stepped(*first, 0, 1, 1);
  const uint32_t f32[] = {0x7F7FFFFFu, 0xFF7FFFFFu, 0x80000000u, 0x80000001u, 1u, 0u};
  const uint16_t bf16[] = {0x7F7Fu, 0xFF7Fu, 0x8000u, 0x8001u, 1u, 0u};
  const View w = next->param(0).reshape({next->param(0).size()});
  if (dtype == DType::f32)
    upload(w.slice(3, 9), f32, sizeof f32);
  else
    upload(w.slice(3, 9), bf16, sizeof bf16);
  const VersionDelta delta = encode_delta(first.get(), 0, *next, 1);
  EXPECT_FALSE(delta.full());
  EXPECT_EQ(apply_delta(first.get(), delta, config, device, dtype)->hash(), next->hash());
}

TEST_P(VersionDeltaTest, the_wrong_previous_version_is_noticed) {
  const auto second = stepped(*first, 0.1, 1, 1), other = stepped(*first, 0.1, 1, 2);
  const VersionDelta delta = encode_delta(first.get(), 0, *second, 1);
  EXPECT_THROW(apply_delta(other.get(), delta, config, device, dtype), Error);
  EXPECT_THROW(apply_delta(nullptr, delta, config, device, dtype), Error);
}

TEST_P(VersionDeltaTest, a_set_that_is_changed_in_place_comes_to_the_same_and_one_wrong_value_under_a_change_is_noticed) {
  const auto second = stepped(*first, 0.1, 1, 1), third = stepped(*second, 0.1, 1, 2);
  const VersionDelta one = encode_delta(first.get(), 0, *second, 1), two = encode_delta(second.get(), 1, *third, 2);
  const auto set = stepped(*first, 0, 1, 1);
  apply_delta(*set, one);
  apply_delta(*set, two);
  EXPECT_EQ(set->hash(), third->hash());
  // The first value that changes.
  const auto wrong = stepped(*first, 0, 1, 1);
  const auto flip = [&]<class Bits>(Bits) {
    auto was = download_as<Bits>(first->param(0)), is = download_as<Bits>(second->param(0));
    const auto at = static_cast<size_t>(std::mismatch(was.begin(), was.end(), is.begin()).first - was.begin());
    ASSERT_LT(at, was.size());
    was[at] ^= 1;
    upload(wrong->param(0), was);
  };
  dtype == DType::bf16 ? flip(uint16_t{}) : flip(uint32_t{});
  EXPECT_THROW(apply_delta(*wrong, one), Error);
}

TEST_P(VersionDeltaTest, damaged_bytes_are_refused_or_harmless) {
  int refused = 0, tried = 0;
  for (const double share : {0.002, 0.3, 1.0}) {
    const auto next = stepped(*first, share, 3, 5);
    const VersionDelta good = encode_delta(first.get(), 0, *next, 1);
    Rng rng(17, "flip");
    for (int i = 0; i < 400; ++i) {
      VersionDelta bad = good;
      std::string& frame = bad.frames[i % 16 == 0 ? 0 : 1];
      switch (i % 5) {
        case 0:  // one bit
          frame[rng.below(frame.size())] ^= static_cast<char>(1 << rng.below(8));
          break;
        case 1:  // a byte of the head or the table
          frame[rng.below(std::min<size_t>(40, frame.size()))] = static_cast<char>(rng.bits());
          break;
        case 2:  // cut
          frame.resize(rng.below(frame.size()));
          break;
        case 3:  // a frame too few or too many
          i % 2 == 0 ? bad.frames.pop_back() : bad.frames.push_back(frame);
          break;
        default:  // a run of noise
          for (size_t at = rng.below(frame.size()), n = 0; n < 16 && at < frame.size(); ++n, ++at)
            frame[at] = static_cast<char>(rng.bits());
      }
      ++tried;
      try {
        EXPECT_EQ(apply_delta(first.get(), bad, config, device, dtype)->hash(), good.hash);
      } catch (const Error& e) {
        EXPECT_EQ(e.code(), ExitCode::failed);
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, tried * 9 / 10);
}

INSTANTIATE_TEST_SUITE_P(All, VersionDeltaTest, ::testing::Values(DType::f32, DType::bf16),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

}  // namespace
}  // namespace r1
