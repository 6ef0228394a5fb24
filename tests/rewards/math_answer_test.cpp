#include "rewards/math_answer.h"

#include <gtest/gtest.h>

namespace r1 {
namespace {

TEST(MathAnswer, is_looked_for_in_the_last_box_then_after_the_phrase_then_as_a_number) {
  EXPECT_EQ(extract_math_answer("so \\boxed{1} no, \\boxed{\\frac{1}{2}}."), "\\frac{1}{2}");
  EXPECT_EQ(normalize_math(*extract_math_answer("Then the answer is $42$. Done")), "42");
  EXPECT_EQ(normalize_math(*extract_math_answer("The final answer is: 3.5")), "3.5");
  EXPECT_EQ(extract_math_answer("first 3 then -1,234.5 apples"), "-1,234.5");
  EXPECT_EQ(extract_math_answer("no number"), std::nullopt);
  EXPECT_EQ(extract_math_answer("cut off \\boxed{12"), "12");
}

TEST(MathAnswer, equal_in_value_or_in_normalised_form) {
  EXPECT_TRUE(math_equal("1,234", "1234"));
  EXPECT_TRUE(math_equal("0.5", "\\frac12"));
  EXPECT_TRUE(math_equal("1/2", "\\dfrac{1}{2}"));
  EXPECT_TRUE(math_equal("-1/2", "-0.5"));
  EXPECT_TRUE(math_equal("50\\%", "0.5"));
  EXPECT_TRUE(math_equal(".5", "0.50"));
  EXPECT_TRUE(math_equal("12\\text{ cm}", "12"));
  EXPECT_TRUE(math_equal("\\text{yes}", "yes"));
  EXPECT_TRUE(math_equal("90^\\circ", "90"));
  EXPECT_TRUE(math_equal("\\left( 1, 2 \\right)", "(1,2)"));
  EXPECT_TRUE(math_equal("\\sqrt2", "\\sqrt{2}"));
  EXPECT_TRUE(math_equal("7.000", "7."));
  EXPECT_FALSE(math_equal("0.5", "0.51"));
  EXPECT_FALSE(math_equal("x+1", "x-1"));
  EXPECT_FALSE(math_equal("", ""));
  EXPECT_FALSE(math_equal("1/0", "2/0"));
}

}  // namespace
}  // namespace r1
