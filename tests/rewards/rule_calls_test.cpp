#include "rewards/rule_calls.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "rewards/choice.h"
#include "rewards/expression.h"
#include "rewards/rules.h"

namespace r1 {
namespace {

double value(const std::string& expression, std::string_view response, const Facts& facts = {}, std::string_view prompt = "") {
  RewardInput in{prompt, response, &facts, true, 90};
  return RewardExpression::parse(expression).evaluate([&](const std::string& name) { return rule_value(name, in).value(); });
}

std::string refusal(const std::string& expression) {
  try {
    RewardExpression::parse(expression, {"a.graph", 7, 11});
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    EXPECT_EQ(e.where().column, 15) << expression;
    return e.what();
  }
  return "accepted";
}

TEST(RuleCalls, are_part_of_expressions_and_known_to_the_checks) {
  EXPECT_DOUBLE_EQ(value("1 - 0.5 * repetition(2)", "a b a b"), 1 - 0.5 / 3);
  EXPECT_DOUBLE_EQ(value("regex('^\\d+$') + regex(\"x\")", "12"), 1);
  const auto e = RewardExpression::parse("math - 0.5*repetition(3) - repetition(3)");
  EXPECT_EQ(e.variables(), (std::vector<std::string>{"math", "repetition(3)"}));
  EXPECT_NO_THROW(check_variables(e, rule_names()));
}

TEST(RuleCalls, wrong_arguments_are_found_when_the_expression_is_read) {
  EXPECT_NE(refusal("1 + regex('(')").find("is wrong at its character"), std::string::npos);
  EXPECT_NE(refusal("1 + regex(3)").find("a pattern in quotes"), std::string::npos);
  EXPECT_NE(refusal("1 + regex").find("a rule with arguments"), std::string::npos);
  EXPECT_NE(refusal("1 + repetition(0)").find("from 1 to 100"), std::string::npos);
  EXPECT_NE(refusal("1 + repetition(length)").find("numbers and texts in quotes"), std::string::npos);
  EXPECT_NE(refusal("1 + copied('a')").find("from 1 to 100"), std::string::npos);
  EXPECT_NE(refusal("1 + written_in('xx')").find("one of 'en'"), std::string::npos);
  EXPECT_NE(refusal("1 + repetitoin(3)").find("did you mean 'repetition'?"), std::string::npos);
}

TEST(Repetition, is_the_share_of_n_grams_that_came_before) {
  EXPECT_EQ(value("repetition(3)", "one two"), 0);
  EXPECT_EQ(value("repetition(1)", "a b c d"), 0);
  EXPECT_EQ(value("repetition(1)", "a A a a"), 0.75);
  EXPECT_DOUBLE_EQ(value("repetition(2)", "x y x y x"), 0.5);
  EXPECT_DOUBLE_EQ(value("repetition(2)", "\u597D\u597D\u597D"), 0.5) << "Han characters are words";
}

TEST(Copied, is_the_share_of_n_grams_that_the_prompt_has) {
  EXPECT_EQ(value("copied(2)", "the red fox", {}, "see the red fox run"), 1);
  EXPECT_EQ(value("copied(2)", "the red dog", {}, "see the red fox run"), 0.5);
  EXPECT_EQ(value("copied(3)", "a b", {}, "a b"), 0);
}

TEST(Regex, looks_at_what_the_reader_sees) {
  EXPECT_EQ(value("regex('^\\d+$')", "<think>abc</think><answer> 42 </answer><eos>"), 1);
  EXPECT_EQ(value("regex('abc')", "<think>abc</think>42"), 0);
  EXPECT_EQ(value("regex()", "yes!", {{"pattern", "(?i)^YES"}}), 1);
  EXPECT_THROW(value("regex()", "yes"), Error) << "no pattern is a failure, not a 0";
  EXPECT_THROW(value("regex()", "yes", {{"pattern", "("}}), Error);
}

TEST(Regex, a_pattern_that_explodes_is_a_failure_that_comes_soon) {
  EXPECT_THROW(value("regex('^(a+)+$')", std::string(60, 'a') + "b"), Error);
  EXPECT_EQ(value("regex('\u597D')", "\xE4\xBD\xFF\u597D"), 1) << "broken UTF-8 is no error";
}

TEST(WrittenIn, tells_scripts_apart_and_latin_languages_by_their_words) {
  EXPECT_EQ(value("written_in('zh')", "\u4ECA\u5929\u5929\u6C14\u5F88\u597D"), 1);
  EXPECT_EQ(value("written_in('en')", "so this is the answer"), 1);
  EXPECT_EQ(value("written_in('en')", "wir haben das nicht"), 0);
  EXPECT_EQ(value("written_in('de')", "wir haben das nicht"), 1);
  EXPECT_EQ(value("written_in('fr')", "nous avons donc une solution"), 1);
  EXPECT_EQ(value("written_in('es')", "el resultado es para los dos"), 1);
  EXPECT_EQ(value("written_in('en')", "12 34"), 0);
}

TEST(Overlong, with_two_arguments_measures_the_completion) {
  EXPECT_DOUBLE_EQ(value("overlong(96, 24)", "x"), -0.75);
  EXPECT_EQ(RewardExpression::parse("overlong(96, 24)").overlongs().size(), 1u);
}

TEST(Exact, is_the_whole_visible_answer) {
  const Facts facts = {{"answers", "red fox|blue"}};
  EXPECT_EQ(value("exact", "<think>x</think> red   fox", facts), 1);
  EXPECT_EQ(value("exact", "blue<eos>", facts), 1);
  EXPECT_EQ(value("exact", "dark blue", facts), 0);
  EXPECT_EQ(value("exact", "", facts), 0);
}

TEST(Choice, reads_the_letter_in_the_forms_that_models_write) {
  const Facts facts = {{"answers", "B"}};
  for (const char* right :
       {"B", "(B)", "B.", "B)", "b", "Answer: B", "The answer is (B).", "\\boxed{B}", "\\boxed{\\text{(B)}}", "**B**",
        "B) green", "the answer is **B**.", "So it must be (B)", "<think>A? no</think>B", "Answer: b"})
    EXPECT_EQ(value("choice", right, facts), 1) << right;
  for (const char* wrong :
       {"A", "(C)", "The answer is A, not B.", "Both fit", "", "A (B)", "(A) or (B)", "\\boxed{BB}", "because B", "\\boxed{C}"})
    EXPECT_EQ(value("choice", wrong, facts), 0) << wrong;
}

TEST(Choice, takes_the_text_of_an_option_for_its_letter) {
  const Facts facts = {{"answers", "green"}, {"options", "red|green|blue"}};
  for (const char* right : {"B", "green", "Green.", "The answer is green.", "(B) green", "\\boxed{\\text{green}}"})
    EXPECT_EQ(value("choice", right, facts), 1) << right;
  for (const char* wrong : {"red", "A", "E", "greenish", "red or green"}) EXPECT_EQ(value("choice", wrong, facts), 0) << wrong;
}

}  // namespace
}  // namespace r1
