#include "models/finite.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "models/training/logprob_gap.h"
#include "models/training/trainer_engine.h"
#include "tests/models/tiny.h"

namespace r1 {
namespace {

// Values of a width at an odd address, as they lie in a file.
template <class Bits>
struct Unaligned {
  explicit Unaligned(int64_t n, Bits fill) : bytes(static_cast<size_t>(n) * sizeof(Bits) + 1) {
    for (int64_t i = 0; i < n; ++i) set(i, fill);
  }
  void set(int64_t i, Bits bits) { std::memcpy(at(i), &bits, sizeof bits); }
  char* at(int64_t i) { return bytes.data() + 1 + static_cast<size_t>(i) * sizeof(Bits); }
  std::vector<char> bytes;
};

template <class Bits>
void expect_found(const char* dtype, Bits largest, Bits infinity, Bits nan, int64_t sign_shift) {
  for (const int64_t n : {1, 15, 1024, 1025, 5000}) {
    Unaligned<Bits> v(n, largest);
    EXPECT_EQ(first_not_finite(v.at(0), n, dtype), -1) << dtype << " " << n;
    for (const Bits bad : {infinity, nan, static_cast<Bits>(infinity | Bits{1} << sign_shift)})
      for (const int64_t i : {int64_t{0}, n / 2, n - 1}) {
        v.set(i, bad);
        EXPECT_EQ(first_not_finite(v.at(0), n, dtype), i) << dtype << " " << n;
        v.set(i, largest);
      }
  }
}

TEST(Finite, nan_and_infinity_are_found_in_every_width_wherever_they_are) {
  expect_found<uint32_t>("F32", 0x7F7FFFFF, 0x7F800000, 0x7FC00000, 31);
  expect_found<uint16_t>("BF16", 0x7F7F, 0x7F80, 0x7FC0, 15);
  expect_found<uint16_t>("F16", 0x7BFF, 0x7C00, 0x7E00, 15);
}

TEST(Finite, a_value_is_named_by_tensor_and_place) {
  const float nan = NAN, low = -INFINITY;
  EXPECT_EQ(not_finite_text("a.weight", {3, 4}, 7, &nan, "F32"), "tensor 'a.weight' holds nan at [1, 3]");
  EXPECT_EQ(not_finite_text("b", {5}, 4, &low, "F32"), "tensor 'b' holds -inf at [4]");
  const uint16_t half = 0x7C00;
  EXPECT_EQ(not_finite_text("c", {2}, 0, &half, "F16"), "tensor 'c' holds inf at [0]");
}

TEST(Finite, the_hash_of_weights_names_the_first_that_is_no_number_and_is_the_same_hash) {
  Device& device = open_device("cpu");
  WeightSet w(device, test::tiny_config(Architecture::qwen3), DType::bf16);
  Context ctx(device);
  run(ctx, Fill{w.flat(), 0.5f});
  std::string bad = "?";
  EXPECT_EQ(w.hash(&bad), w.hash());
  EXPECT_EQ(bad, "");
  const size_t fused = 1 + static_cast<size_t>(std::find_if(w.specs().begin() + 1, w.specs().end(),
                                                            [](const ParamSpec& s) { return s.parts.size() > 1; }) -
                                               w.specs().begin() - 1);
  const ParamPart& part = w.specs()[fused].parts[1];
  run(ctx, Fill{w.param(fused).slice(part.row_begin, part.row_begin + 1), INFINITY});
  EXPECT_EQ(w.hash(&bad), w.hash());
  EXPECT_EQ(bad, "tensor '" + part.name + "' holds inf at [0, 0]");
}

TEST(Finite, a_trainer_whose_weights_are_no_numbers_writes_no_snapshot) {
  Device& device = open_device("cpu");
  WeightSet w(device, test::tiny_config(Architecture::llama), DType::f32);
  initialize(w, 1);
  Context ctx(device);
  run(ctx, Fill{w.param(2).slice(0, 1), NAN});
  const TrainerEngine engine(device, TrainerConfig{}, w);
  const auto file = std::filesystem::temp_directory_path() / ("r1_finite_" + std::to_string(::getpid()));
  try {
    engine.save(file);
    ADD_FAILURE() << "a snapshot of NaN was written";
  } catch (const Error& e) {
    EXPECT_NE(e.message().find(w.specs()[2].name), std::string::npos) << e.message();
    EXPECT_NE(e.message().find("nan at [0"), std::string::npos) << e.message();
  }
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST(LogprobGapTest, a_nan_on_either_side_or_both_is_an_infinite_gap) {
  for (const auto& [trainer, sampler] : {std::pair{NAN, -1.0f}, {-1.0f, NAN}, {NAN, NAN}}) {
    LogprobGap gap;
    gap.compare(-0.5f, -0.25f, 0, 3);
    gap.compare(trainer, sampler, 2, 7);
    gap.compare(-0.5f, -4.25f, 3, 1);
    EXPECT_EQ(gap.max, INFINITY);
    EXPECT_EQ(gap.sequence, 2);
    EXPECT_EQ(gap.token, 7);
    EXPECT_EQ(gap.tokens, 3);
  }
}

TEST(LogprobGapTest, sums_keep_the_first_of_the_largest_and_equal_bits_are_no_gap) {
  LogprobGap a, b, c;
  a.compare(-1.0f, -1.0f, 0, 1);
  EXPECT_EQ(a.max, 0);
  EXPECT_EQ(a.sequence, -1);
  b.compare(-1.0f, std::nextafter(-1.0f, -2.0f), 4, 2);
  c.compare(-1.0f, std::nextafter(-1.0f, -2.0f), 5, 3);
  a.add(b);
  a.add(c);
  EXPECT_EQ(a.tokens, 3);
  EXPECT_GT(a.max, 0);
  EXPECT_EQ(a.sequence, 4);
  EXPECT_EQ(a.token, 2);
  EXPECT_EQ(a.trainer, -1.0f);
  EXPECT_LT(a.sampler, -1.0f);
}

}  // namespace
}  // namespace r1
