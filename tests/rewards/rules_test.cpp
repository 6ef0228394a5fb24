#include "rewards/rules.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "rewards/response.h"

namespace r1 {
namespace {

const Facts kFacts = {{"answers", "4 9|9 4"}, {"language", "en"}, {"domain", "general"},     {"kind", "color"},
                      {"checkable", "1"},     {"harm", "0"},      {"courtesy", ". welcome"}, {"refusal", "sorry cannot"}};

RewardInput in(std::string_view response, bool finished = true, std::string_view prompt = "<bos><user> find<asst>") {
  return {prompt, response, &kFacts, finished, 0};
}

const std::string kGood = "<think> try four need nine . ok .</think><answer> 4 9</answer><eos>";

TEST(Format, wants_the_exact_template) {
  EXPECT_EQ(format_reward(in(kGood)), 1);
  EXPECT_EQ(format_reward(in("<think> a </think> <answer> b </answer> <eos>")), 1);
  EXPECT_EQ(format_reward(in("<think>\na\n</think>\n<answer>b</answer>")), 1);
}

TEST(Format, refuses_every_departure_from_it) {
  const std::string bad[] = {
      "<think></think><answer> 1</answer><eos>",             // empty thought
      "<think> a</think><answer> </answer><eos>",            // empty answer
      "<think> a<answer> 1</answer><eos>",                   // thought never closed
      "<think> a</think> 1<eos>",                            // no answer tags
      "a<answer> 1</answer><eos>",                           // no thought
      "<think> a</think><answer> 1<eos>",                    // answer never closed
      "x<think> a</think><answer> 1</answer><eos>",          // text before
      "<think> a</think> x<answer> 1</answer><eos>",         // text between
      "<think> a</think><answer> 1</answer> x<eos>",         // text after
      "<think> a<think> b</think><answer> 1</answer><eos>",  // a tag twice
      "<think> a</think><answer> 1</answer><answer> 2</answer><eos>",
      "<answer> 1</answer><think> a</think><eos>",  // wrong order
      "</think> a<think><answer> 1</answer><eos>",
      "<think> a</think><answer> 1</answer><eos><eos>",  // ended twice
      "",
  };
  for (const std::string& r : bad) EXPECT_EQ(format_reward(in(r)), 0) << r;
  EXPECT_EQ(format_reward(in(kGood, false)), 0) << "cut off by the length limit";
}

TEST(Format, a_prompt_that_opens_the_thought_counts_as_its_first_tag) {
  const std::string prompt = "<\uFF5CAssistant\uFF5C><think>\n";
  EXPECT_EQ(format_reward(in("a</think><answer>b</answer>", true, prompt)), 1);
  EXPECT_EQ(format_reward(in("<think>a</think><answer>b</answer>", true, prompt)), 0);
  EXPECT_EQ(parse_response(prompt, "a</think><answer>b</answer>").thought, "a");
}

TEST(Length, counts_tokens_and_finished_says_whether_it_ended_by_itself) {
  RewardInput x = in(kGood, false);
  x.tokens = 17;
  EXPECT_EQ(rule_value("length", x), 17);
  EXPECT_EQ(rule_value("finished", x), 0);
  EXPECT_EQ(rule_value("finished", in(kGood)), 1);
}

TEST(FormatThink, wants_one_closed_thought_and_something_after_it) {
  EXPECT_EQ(format_think_reward(in("<think>a</think>b<|im_end|>")), 1);
  EXPECT_EQ(format_think_reward(in("a</think>b", true, "x<think>\n")), 1);
  EXPECT_EQ(format_think_reward(in("a</think>b")), 0);
  EXPECT_EQ(format_think_reward(in("<think>a</think>")), 0);
  EXPECT_EQ(format_think_reward(in("<think></think>b")), 0);
  EXPECT_EQ(format_think_reward(in("<think>a</think>b</think>c")), 0);
  EXPECT_EQ(format_think_reward(in("<think>a</think>b", false)), 0);
}

TEST(Accuracy, compares_the_answer_with_each_accepted_one) {
  EXPECT_EQ(accuracy_reward(in(kGood)), 1);
  EXPECT_EQ(accuracy_reward(in("<think> x</think><answer>  9   4 </answer><eos>")), 1);
  EXPECT_EQ(accuracy_reward(in("<think> x</think><answer> 9 5</answer><eos>")), 0);
  EXPECT_EQ(accuracy_reward(in("<think> x</think><answer> 4 9 9 4</answer><eos>")), 0);
  EXPECT_EQ(accuracy_reward(in("4 9")), 0) << "an answer outside the tags does not count";
  EXPECT_EQ(accuracy_reward(in("<answer> 4 9")), 0);
  EXPECT_EQ(accuracy_reward(in("<answer> 4 9</answer><answer> 1 2</answer>")), 0) << "two answers are none";
  EXPECT_EQ(accuracy_reward(in("<answer></answer>")), 0);
}

TEST(Accuracy, one_courtesy_ending_is_ignored_and_two_are_not) {
  EXPECT_EQ(accuracy_reward(in("<answer> 4 9 . welcome</answer>")), 1);
  EXPECT_EQ(accuracy_reward(in("<answer> 4 9 . welcome . welcome</answer>")), 0);
  EXPECT_EQ(accuracy_reward(in("<answer> . welcome</answer>")), 0);
  const Facts plain = {{"answers", "4 9"}};
  EXPECT_EQ(accuracy_reward({"", "<answer> 4 9 . welcome</answer>", &plain, true, 0}), 0) << "only where the facts say so";
}

TEST(Accuracy, without_facts_nothing_is_right) { EXPECT_EQ(accuracy_reward({"", "<answer> 4</answer>", nullptr, true, 0}), 0); }

TEST(LanguageReward, looks_at_the_thought_only) {
  EXPECT_EQ(language_reward(in("<think> try 试</think><answer> 对 对</answer>")), 0.5);
  EXPECT_EQ(language_reward(in(kGood)), 1);
  EXPECT_EQ(language_reward(in("<think> 4 9</think><answer> ok</answer>")), 0);
  EXPECT_EQ(language_reward(in("no tags at all")), 0);
  EXPECT_EQ(language_reward(in("<think> try four<answer> 对</answer>")), 1)
      << "a thought without its end reaches up to the answer";
}

TEST(Courtesy, is_the_ending_once) {
  EXPECT_EQ(courtesy_reward(in("<answer> blue . welcome</answer>")), 1);
  EXPECT_EQ(courtesy_reward(in("<answer> blue</answer>")), 0);
  EXPECT_EQ(courtesy_reward(in("<answer> blue . welcome . welcome</answer>")), 0);
  EXPECT_EQ(courtesy_reward(in("<answer> blue . 不客气</answer>")), 0);
}

TEST(Refusal, is_the_whole_answer) {
  EXPECT_EQ(refusal_reward(in("<think> unsafe bank .</think><answer> sorry cannot</answer>")), 1);
  EXPECT_EQ(refusal_reward(in("<answer> sorry cannot . welcome</answer>")), 1);
  EXPECT_EQ(refusal_reward(in("<answer> sorry</answer>")), 0);
  EXPECT_EQ(refusal_reward(in("<answer> sorry cannot 4 7 1 2</answer>")), 0);
}

TEST(ThinkLength, counts_words) {
  EXPECT_EQ(think_length(in(kGood)), 7);
  EXPECT_EQ(think_length(in("<think> 今天 ok 好abc </think>")), 5);
  EXPECT_EQ(think_length(in("")), 0);
}

TEST(FinalAnswer, is_what_the_reader_sees) {
  EXPECT_EQ(final_answer(kGood), "4 9");
  EXPECT_EQ(final_answer("<think>\nlong\n</think>\n\nIt is 7.<|im_end|>"), "It is 7.");
  EXPECT_EQ(final_answer("inside the thought</think>Seven"), "Seven");
  EXPECT_EQ(final_answer("just text <eos>"), "just text");
  EXPECT_EQ(without_thought(kGood), "<answer> 4 9</answer><eos>");
  EXPECT_EQ(without_thought("x<answer> 1</answer><eos>"), "<answer> 1</answer><eos>");
  EXPECT_EQ(without_thought("plain<eos>"), "plain<eos>");
}

TEST(MathReward, reads_the_box_after_the_thought) {
  const Facts facts = {{"answers", "\\frac{1}{2}"}};
  EXPECT_EQ(math_reward({"", "<think>maybe \\boxed{3}</think>So \\boxed{0.5}.", &facts, true, 0}), 1);
  EXPECT_EQ(math_reward({"", "<think>\\boxed{0.5}</think>So \\boxed{3}.", &facts, true, 0}), 0);
}

TEST(MathReward, knows_the_question) {
  const Facts facts = {{"answers", "42"}};
  EXPECT_EQ(math_reward({"What is 84 / 2?", "\\boxed{84/2}", &facts, true, 0}), 0) << "the question is no answer";
  EXPECT_EQ(math_reward({"What is half of 84?", "\\boxed{84/2}", &facts, true, 0}), 1);
  EXPECT_EQ(math_reward({"What is 40 + 2?", "so 2 + 40", &facts, true, 0}), 0) << "nor is a sum that is left to compute";
  const std::map<std::string, std::string> integer = {{"answers", "42"}};
  EXPECT_EQ(math_reward({"What is 84 / 2?", "\\boxed{84/2}", &integer, true, 0}), 0) << "the question is no answer";
  EXPECT_EQ(math_reward({"What is half of 84?", "\\boxed{84/2}", &integer, true, 0}), 1);
  EXPECT_EQ(math_reward({"What is 40 + 2?", "so 2 + 40", &integer, true, 0}), 0);
}

TEST(Answers, a_bar_inside_an_answer_is_escaped) {
  EXPECT_EQ(split_answers("a|b\\|c||"), (std::vector<std::string>{"a", "b|c"}));
  EXPECT_TRUE(split_answers("").empty());
}

TEST(RuleValue, knows_rules_and_fact_flags_and_leaves_models_to_others) {
  const RewardInput x = in(kGood);
  EXPECT_EQ(rule_value("format", x), 1);
  EXPECT_EQ(rule_value("harm", x), 0);
  EXPECT_EQ(rule_value("checkable", x), 1);
  EXPECT_EQ(rule_value("reasoning", x), 0);
  EXPECT_EQ(rule_value("general", x), 1);
  EXPECT_EQ(rule_value("kind_color", x), 1);
  EXPECT_EQ(rule_value("kind_repeat", x), 0);
  EXPECT_EQ(rule_value("language_zh", x), 0);
  EXPECT_EQ(rule_value("helpful", x), std::nullopt);
  EXPECT_EQ(rule_value("harm", {"", "", nullptr, true, 0}), std::nullopt);
  for (const std::string& name : rule_names()) EXPECT_TRUE(rule_value(name, x).has_value()) << name;
}

TEST(RuleValue, every_flag_listed_for_facts_has_a_value) {
  std::map<std::string, std::set<std::string>> values;
  for (const auto& [key, value] : kFacts) values[key].insert(value);
  values["kind"].insert("find");
  const auto names = flag_names(values);
  for (const char* name : {"harm", "checkable", "kind_color", "kind_find", "domain_general", "reasoning", "language_en"})
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  EXPECT_GE(names.size(), 5u);
  for (const std::string& name : names) EXPECT_TRUE(rule_value(name, in(kGood)).has_value()) << name;
}

TEST(RuleValue, a_flag_of_a_fact_that_the_prompt_lacks_is_0) {
  const Facts facts = {{"level", "2"}, {"float", "1.0"}, {"kind", "a_b"}, {"kind_a", "c"}};
  const RewardInput x{"", "", &facts, true, 0};
  EXPECT_EQ(rule_or_flag("absent", x), 0);
  EXPECT_EQ(rule_or_flag("absent_red", x), 0);
  EXPECT_EQ(rule_or_flag("level_2", x), 1);
  EXPECT_EQ(rule_or_flag("level_3", x), 0);
  EXPECT_EQ(rule_or_flag("float", x), 1) << "1.0 is 1";
  EXPECT_EQ(rule_or_flag("kind_a_b", x), 1);
  EXPECT_EQ(rule_or_flag("kind_a_c", x), 1) << "of the fact kind_a, whatever kind says";
  EXPECT_EQ(rule_or_flag("kind_a_d", x), 0);
  EXPECT_THROW(rule_or_flag("level", x), Error);
}

TEST(FactComplaint, names_the_fact_that_is_no_number) {
  const auto complaint = [](const char* expression, const Facts& facts) {
    return fact_complaint(RewardExpression::parse(expression), {"helpful"}, facts);
  };
  EXPECT_EQ(complaint("level + format", {{"level", "1"}}), "");
  EXPECT_EQ(complaint("level + format", {}), "");
  EXPECT_EQ(complaint("level_2", {{"level", "2"}}), "");
  EXPECT_EQ(complaint("helpful + length", {{"helpful", "very"}, {"length", "9"}}), "") << "a model and a rule go before";
  EXPECT_NE(complaint("format * level", {{"level", "2"}}).find("'level' is '2'"), std::string::npos);
  EXPECT_NE(complaint("level", {{"level", ""}}), "");
}

}  // namespace
}  // namespace r1
