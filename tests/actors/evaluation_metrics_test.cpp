#include "actors/evaluation_metrics.h"

#include <gtest/gtest.h>

namespace r1 {
namespace {

EvaluatedPrompt prompt(const std::string& domain, const std::string& answer, std::vector<std::string> given) {
  EvaluatedPrompt p;
  p.prompt.text = "?";
  p.prompt.facts = {{"domain", domain}, {"answers", answer}, {"checkable", "1"}};
  for (size_t i = 0; i < given.size(); ++i) {
    EvaluatedResponse r;
    r.sample = static_cast<int>(i);
    r.text = "<think> t </think> <answer> " + given[i] + " </answer>";
    r.tokens = 4;
    r.finished = true;
    r.score.reward = given[i] == answer ? 1 : 0;
    r.score.parts = {{"math", *r.score.reward}};
    p.responses.push_back(r);
  }
  return p;
}

TEST(EvaluationMetrics, of_several_domains_are_those_of_all_and_of_each_whatever_their_order) {
  const std::vector<EvaluatedPrompt> math = {prompt("math", "1", {"1"}), prompt("math", "1", {"1"}),
                                             prompt("math", "1", {"2"})};
  const std::vector<EvaluatedPrompt> code = {prompt("code", "x", {"y"})};
  for (const bool swapped : {false, true}) {
    EvaluatedSource one{"jsonl:d/math.jsonl.gz?answer=gold", math, 1}, two{"jsonl:code.jsonl", code, 0};
    if (swapped) std::swap(one, two);
    const auto m = prompt_metrics({}, {"math"}, {one, two}, {});
    EXPECT_DOUBLE_EQ(m.at("accuracy"), 2. / 4);
    EXPECT_DOUBLE_EQ(m.at("math/accuracy"), 2. / 3);
    EXPECT_DOUBLE_EQ(m.at("code/accuracy"), 0);
    EXPECT_DOUBLE_EQ(m.at("math/math"), 2. / 3);
    EXPECT_DOUBLE_EQ(m.at("reward"), 2. / 4);
    EXPECT_EQ(m.at("problems"), 4);
    EXPECT_EQ(m.at("code/problems"), 1);
    EXPECT_EQ(m.at("too_long"), 1);
    EXPECT_EQ(m.count("accuracy_"), 0u) << "no kind, no accuracy of that kind";
  }
}

TEST(EvaluationMetrics, of_several_sources_of_one_domain_do_not_replace_each_other) {
  EvaluatedSource one{"jsonl:easy.jsonl", {prompt("reasoning", "1", {"1"})}, 0};
  EvaluatedSource two{"jsonl:more/easy.jsonl", {prompt("reasoning", "1", {"2"})}, 0};
  const auto m = prompt_metrics({}, {}, {one, two}, {});
  EXPECT_DOUBLE_EQ(m.at("accuracy"), 0.5);
  EXPECT_DOUBLE_EQ(m.at("easy/accuracy"), 1);
  EXPECT_DOUBLE_EQ(m.at("easy_2/accuracy"), 0);
  EXPECT_EQ(prompt_metrics({}, {}, {one}, {}).count("easy/accuracy"), 0u) << "one source needs no name";
}

TEST(EvaluationMetrics, are_absent_where_nothing_counts_and_count_what_has_no_reward) {
  EvaluatedPrompt open = prompt("reasoning", "1", {"1", "2"});
  open.responses[1].score = {};
  open.responses[1].score.error = "failed";
  open.responses[1].finished = false;
  const auto m = prompt_metrics({}, {"math"}, {{"s", {open}, 0}}, {});
  EXPECT_DOUBLE_EQ(m.at("reward"), 1);
  EXPECT_EQ(m.at("reward_errors"), 1);
  EXPECT_DOUBLE_EQ(m.at("truncated"), 0.5);
  const auto none = prompt_metrics({}, {"math"}, {{"s", {}, 2}}, {});
  EXPECT_EQ(none, (std::map<std::string, double>{{"too_long", 2}}));
}

TEST(EvaluationMetrics, a_response_is_right_by_the_rule_of_the_expression_that_decides) {
  const EvaluatedPrompt p = prompt("reasoning", "1", {"1"});
  SampleScore score;
  EXPECT_EQ(is_correct(p.input(0), score), true);
  score.parts["math"] = 0;
  EXPECT_EQ(is_correct(p.input(0), score), false);
  EvaluatedPrompt open = p;
  open.prompt.facts = {{"checkable", "0"}};
  EXPECT_EQ(is_correct(open.input(0), score), std::nullopt);
}

TEST(EvaluationMetrics, the_consensus_of_several_responses_is_that_of_the_answer_given_most_often) {
  EvaluationSpec spec;
  spec.samples = 3;
  const std::vector<EvaluatedPrompt> prompts = {prompt("math", "1", {"2", "2", "1"}), prompt("math", "1", {"2", "1", "1"})};
  const auto m = prompt_metrics(spec, {}, {{"s", prompts, 0}}, {});
  EXPECT_DOUBLE_EQ(m.at("accuracy"), 0.5);
  EXPECT_DOUBLE_EQ(m.at("cons"), 0.5);
  const auto wrong = prompt_metrics(spec, {}, {{"s", {prompts[0]}, 0}}, {});
  EXPECT_DOUBLE_EQ(wrong.at("cons"), 0);
  EXPECT_NEAR(wrong.at("accuracy"), 1. / 3, 1e-12);
  EXPECT_EQ(prompt_metrics({}, {}, {{"s", prompts, 0}}, {}).count("cons"), 0u) << "of one response there is none";
}

TEST(EvaluationMetrics, rewards_of_the_greedy_pass_stand_beside_those_that_were_sampled) {
  const auto m =
      prompt_metrics({}, {"math"}, {{"s", {prompt("math", "1", {"1"})}, 0}}, {{"s", {prompt("math", "1", {"2"})}, 0}});
  EXPECT_DOUBLE_EQ(m.at("reward"), 1);
  EXPECT_DOUBLE_EQ(m.at("reward_greedy"), 0);
  EXPECT_DOUBLE_EQ(m.at("math"), 1);
}

}  // namespace
}  // namespace r1
