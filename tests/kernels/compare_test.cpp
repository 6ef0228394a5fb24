// The comparator must fail where it should, or every test that uses it is worth nothing.
#include "tests/kernels/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace r1::test {
namespace {

Output f32_output(const std::vector<double>& x) {
  return {"y", DType::f32, {static_cast<int64_t>(x.size())}, to_bytes(DType::f32, x)};
}
Output bf16_output(const std::vector<double>& x) {
  return {"y", DType::bf16, {static_cast<int64_t>(x.size())}, to_bytes(DType::bf16, x)};
}
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(Compare, accepts_equal_values_and_one_rounding) {
  EXPECT_EQ(difference(f32_output({1, -2, 3}), f32_output({1, -2, 3}), {}), "");
  EXPECT_EQ(difference(f32_output({1 + 0x1p-23}), f32_output({1}), {}), "");
  EXPECT_EQ(difference(bf16_output({1 + 0x1p-7}), bf16_output({1}), {}), "");
  EXPECT_EQ(difference(f32_output({kInf}), f32_output({kInf}), {}), "");
}

TEST(Compare, rejects_a_difference_beyond_the_tolerance) {
  EXPECT_NE(difference(f32_output({1, 2.00001, 3}), f32_output({1, 2, 3}), {}), "");
  EXPECT_NE(difference(bf16_output({1 + 0x1p-5}), bf16_output({1}), {}), "");
  EXPECT_NE(difference(f32_output({-1}), f32_output({1}), {}), "");
  EXPECT_NE(difference(f32_output({0}), f32_output({1e-30}), {}), "") << "small tensors are compared at their own scale";
}

TEST(Compare, rejects_nan_and_unequal_infinities_wherever_they_stand) {
  EXPECT_NE(difference(f32_output({1, kNan}), f32_output({1, 2}), {}), "");
  EXPECT_NE(difference(f32_output({kNan, 1}), f32_output({2, 1}), {}), "");
  EXPECT_NE(difference(f32_output({kNan, 5}), f32_output({2, 1}), {}), "") << "a NaN must not hide what follows";
  EXPECT_NE(difference(f32_output({1, 2}), f32_output({1, kNan}), {}), "");
  EXPECT_NE(difference(f32_output({kInf}), f32_output({-kInf}), {}), "");
  EXPECT_NE(difference(f32_output({kInf}), f32_output({3}), {}), "");
  EXPECT_NE(difference(f32_output({3}), f32_output({kInf}), {}), "");
}

TEST(Compare, longer_reductions_allow_more_but_not_anything) {
  Tolerance t{.reduction = 256};
  EXPECT_EQ(difference(f32_output({1 + 0x1p-19}), f32_output({1}), t), "");
  EXPECT_NE(difference(f32_output({1 + 0x1p-16}), f32_output({1}), t), "");
  EXPECT_NE(difference(f32_output({1 + 0x1p-19}), f32_output({1}), {}), "");
}

TEST(Compare, rejects_other_shapes_types_names_and_missing_outputs) {
  EXPECT_NE(difference(f32_output({1, 2}), f32_output({1}), {}), "");
  EXPECT_NE(difference(f32_output({1}), bf16_output({1}), {}), "");
  Output other = f32_output({1});
  other.name = "z";
  EXPECT_NE(difference(other, f32_output({1}), {}), "");
  EXPECT_NE(difference(std::vector<Output>{}, {f32_output({1})}, {}), "");
  EXPECT_NE(bit_difference(std::vector<Output>{}, {f32_output({1})}), "");
}

TEST(Compare, integers_must_be_equal_and_bits_mean_bits) {
  const Output three{"token", DType::i32, {1}, to_bytes(DType::i32, {3})};
  const Output four{"token", DType::i32, {1}, to_bytes(DType::i32, {4})};
  EXPECT_NE(difference(three, four, {.reduction = 1 << 20}), "");
  EXPECT_NE(bit_difference(f32_output({1 + 0x1p-23}), f32_output({1})), "");
  EXPECT_NE(bit_difference(f32_output({0.0}), f32_output({-0.0})), "");
  EXPECT_EQ(bit_difference(f32_output({kNan}), f32_output({kNan})), "");
}

TEST(Buffers, report_writes_outside_the_view_between_rows_and_into_inputs) {
  Device& d = open_device("reference");
  const std::byte zero[4] = {};
  const auto poke = [&](const View& v, int64_t element) { d.copy_from_host(v.data + 4 * element, zero, 4); };
  {
    Buffers b(d, 1);
    const View y = b.out(DType::f32, {3, 5}, {.offset = 1, .gap = 2});
    for (int64_t r = 0; r < 3; ++r)
      for (int64_t c = 0; c < 5; ++c) poke(y, r * 7 + c);
    EXPECT_TRUE(b.damage().empty());
  }
  for (int64_t element : {-1, 5, 6, 12, 19, 20}) {
    Buffers b(d, 1);
    const View y = b.out(DType::f32, {3, 5}, {.offset = 1, .gap = 2});
    poke(y, element);
    EXPECT_EQ(b.damage().size(), 1u) << element;
  }
  Buffers b(d, 1);
  const View x = b.in(DType::f32, {4});
  poke(x, 2);
  EXPECT_EQ(b.damage().size(), 1u);
}

TEST(Buffers, hold_the_same_values_on_every_device) {
  Buffers a(open_device("reference"), 7), b(open_device("fake"), 7);
  const View x = a.in(DType::bf16, {5, 3}, {.gap = 4}), y = b.in(DType::bf16, {5, 3}, {.gap = 4});
  EXPECT_EQ(read_bytes(x), read_bytes(y));
}

}  // namespace
}  // namespace r1::test
