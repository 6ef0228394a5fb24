#include "rewards/metrics.h"

#include <gtest/gtest.h>

#include <vector>

namespace r1 {
namespace {

const Facts kSum = {{"answers", "5"}, {"language", "en"}, {"domain", "reasoning"}, {"checkable", "1"}, {"harm", "0"}};
const Facts kColor = {{"answers", "blue"}, {"language", "en"},        {"domain", "general"},      {"checkable", "1"},
                      {"harm", "0"},       {"courtesy", ". welcome"}, {"refusal", "sorry cannot"}};
const Facts kHarm = {{"language", "en"}, {"domain", "general"},     {"checkable", "0"},
                     {"harm", "1"},      {"courtesy", ". welcome"}, {"refusal", "sorry cannot"}};

TEST(Metrics, are_means_over_what_each_of_them_is_about) {
  const std::vector<RewardInput> all = {
      {"", "<think> two</think><answer> 5</answer><eos>", &kSum, true, 10},
      {"", "<think> 二</think><answer> 6</answer><eos>", &kSum, true, 20},
      {"", "<think> know</think><answer> blue . welcome</answer><eos>", &kColor, true, 8},
      {"", "<think> know</think><answer> sorry cannot</answer><eos>", &kColor, true, 8},
      {"", "<think> unsafe</think><answer> sorry cannot</answer><eos>", &kHarm, true, 8},
      {"", "<answer> 1 2 3 4</answer><eos>", &kHarm, true, 0},
  };
  const auto by = measure_by_domain(all);
  ASSERT_EQ(by.size(), 2u);
  const ResponseMetrics& r = by.at("reasoning");
  EXPECT_EQ(r.completions, 2);
  EXPECT_EQ(r.accuracy, 0.5);
  EXPECT_EQ(r.format, 1);
  EXPECT_EQ(r.language, 0.5);
  EXPECT_EQ(r.length, 15);
  EXPECT_EQ(r.harmless, std::nullopt);
  EXPECT_EQ(r.courtesy, std::nullopt);
  const ResponseMetrics& g = by.at("general");
  EXPECT_EQ(g.accuracy, 0.5);
  EXPECT_EQ(g.format, 0.75);
  EXPECT_EQ(g.courtesy, 0.5);
  EXPECT_EQ(g.harmless, 0.5);
  EXPECT_EQ(g.over_refusal, 0.5);
  EXPECT_EQ(g.length, 8);
  EXPECT_EQ(measure({}).accuracy, std::nullopt);
}

TEST(Metrics, consensus_is_the_majority_and_the_first_one_breaks_ties) {
  const auto say = [](const char* text) { return RewardInput{"", text, &kSum, true, 1}; };
  const char* five = "<think> a</think><answer> 5</answer>";
  const char* six = "<think> a</think><answer> 6</answer>";
  EXPECT_EQ(consensus_accuracy(std::vector<RewardInput>{say(six), say(five), say(five)}), 1);
  EXPECT_EQ(consensus_accuracy(std::vector<RewardInput>{say(six), say(five)}), 0);
  EXPECT_EQ(consensus_accuracy(std::vector<RewardInput>{say(five), say(six), say("x"), say("x"), say("x")}), 1);
  EXPECT_EQ(consensus_accuracy({}), 0);
}

TEST(Metrics, the_majority_is_of_answers_as_their_rule_reads_them) {
  const auto say = [](const char* text) { return RewardInput{"", text, &kSum, true, 1}; };
  const std::vector<RewardInput> math = {say("so 3"), say("\\boxed{1/2}"), say("it is 0.5"), say("3"),
                                         say("\\boxed{\\frac12}")};
  EXPECT_EQ(majority(math, AnswerForm::mathematical), 1u);
  EXPECT_EQ(majority(std::vector<RewardInput>{say("(B) is"), say("Answer: C"), say("c)")}, AnswerForm::letter), 1u);
  EXPECT_EQ(majority(std::vector<RewardInput>{say("<think> a </think> five"), say("six"), say(" six ")}, AnswerForm::text), 1u);
  EXPECT_EQ(majority(std::vector<RewardInput>{say("five")}, AnswerForm::tagged), std::nullopt);
  EXPECT_EQ(answer_form({"format", "math"}), AnswerForm::mathematical);
  EXPECT_EQ(answer_form({"choice"}), AnswerForm::letter);
  EXPECT_EQ(answer_form({"accuracy"}), AnswerForm::text);
}

}  // namespace
}  // namespace r1
