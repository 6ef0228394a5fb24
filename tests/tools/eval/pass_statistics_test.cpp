#include "tools/eval/pass_statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace r1 {
namespace {

EvaluatedPrompt prompt(const std::string& answer, const std::vector<std::string>& given) {
  EvaluatedPrompt p;
  p.prompt.facts = {{"answers", answer}};
  for (const std::string& text : given) {
    EvaluatedResponse r;
    r.sample = static_cast<int>(p.responses.size());
    r.text = "so \\boxed{" + text + "}";
    r.tokens = static_cast<int64_t>(10 * (p.responses.size() + 1));
    r.finished = text != "cut";
    r.score.reward = text == answer;
    r.score.parts = {{"math", *r.score.reward}};
    p.responses.push_back(r);
  }
  return p;
}

TEST(PassStatistics, the_standard_error_is_that_of_a_mean_over_prompts) {
  const EvaluatedSource s{
      "s", {prompt("1", {"1", "1", "2", "1"}), prompt("2", {"3", "3", "2", "3"}), prompt("3", {"x", "y", "z", "w"})}, 2};
  const PassStatistics p = pass_statistics({&s}, {"math"}, 1);
  EXPECT_EQ(p.responses, 12);
  EXPECT_EQ(p.too_long, 2);
  EXPECT_NEAR(p.pass->mean, (0.75 + 0.25 + 0) / 3, 1e-12);
  const double m = 1. / 3, variance = (std::pow(0.75 - m, 2) + std::pow(0.25 - m, 2) + m * m) / 2;
  EXPECT_NEAR(*p.pass->standard_error, std::sqrt(variance / 3), 1e-12);
  EXPECT_NEAR(p.consensus->mean, 1. / 3, 1e-12) << "the majority of the second is wrong";
  EXPECT_NEAR(p.any->mean, 2. / 3, 1e-12);
  EXPECT_EQ(*p.tokens_median, 20);
  EXPECT_EQ(*p.tokens_p95, 40);
  EXPECT_EQ(*p.tokens_mean, 25);
  EXPECT_EQ(p.parts.at("math").mean, p.pass->mean);
}

TEST(PassStatistics, answers_that_are_equal_as_mathematics_vote_together) {
  const EvaluatedSource s{"s", {prompt("0.5", {"3", "3", "\\frac{1}{2}", "0.5", "1/2"})}, 0};
  EXPECT_EQ(pass_statistics({&s}, {"math"}, 1).consensus->mean, 0) << "the first of them has no reward here";
  EvaluatedSource first{"s", {prompt("0.5", {"3", "0.5", "3", "\\frac{1}{2}", "1/2"})}, 0};
  EXPECT_EQ(pass_statistics({&first}, {"math"}, 1).consensus->mean, 1);
  EXPECT_EQ(pass_statistics({&first}, {"exact"}, 1).consensus->mean, 0) << "as text 3 has the most votes";
}

TEST(PassStatistics, what_was_not_measured_is_null) {
  EvaluatedSource s{"s", {prompt("1", {"1"})}, 0};
  auto j = statistics_json(pass_statistics({&s}, {"math"}, 1));
  EXPECT_EQ(j.at("pass@1"), 1);
  EXPECT_TRUE(j.at("pass@1_se").is_null()) << "one prompt has no scatter";
  s.prompts[0].responses[0].score = {};
  j = statistics_json(pass_statistics({&s}, {"math"}, 1));
  EXPECT_TRUE(j.at("pass@1").is_null());
  EXPECT_EQ(j.at("reward_errors"), 0) << "there was no answer to compare with";
  EXPECT_EQ(j.at("without_answer"), 1);
  EXPECT_TRUE(response_json("s", s.prompts[0], 0, 1).at("passed").is_null());
  s.prompts[0].responses[0].score.error = "failed";
  EXPECT_FALSE(response_json("s", s.prompts[0], 0, 1).at("passed"));
  j = statistics_json(pass_statistics({&s}, {"math"}, 1));
  EXPECT_TRUE(j.at("pass@1").is_null());
  EXPECT_TRUE(j.at("reward").is_null());
  EXPECT_EQ(j.at("reward_errors"), 1);
  j = statistics_json(pass_statistics({}, {"math"}, 1));
  EXPECT_TRUE(j.at("truncated").is_null());
  EXPECT_TRUE(j.at("tokens").at("max").is_null());
}

TEST(PassStatistics, a_sum_of_parts_that_rounds_below_its_limit_passes) {
  EvaluatedResponse r;
  r.score.reward = 0.7 + 0.2 + 0.1;
  EXPECT_LT(*r.score.reward, 1);
  EXPECT_TRUE(passes(r, 1));
  r.score.reward = 0.999;
  EXPECT_FALSE(passes(r, 1));
}

TEST(PassStatistics, a_response_without_a_reward_counts_neither_as_right_nor_as_wrong) {
  EvaluatedSource s{"s", {prompt("1", {"1", "1", "2", "1"})}, 0};
  for (const size_t i : {2, 3}) {
    s.prompts[0].responses[i].score = {};
    s.prompts[0].responses[i].score.error = "failed";
  }
  const PassStatistics p = pass_statistics({&s}, {"math"}, 1);
  EXPECT_EQ(p.pass->mean, 1);
  EXPECT_EQ(p.reward->mean, 1);
  EXPECT_EQ(p.parts.at("math").mean, 1);
  EXPECT_EQ(p.reward_errors, 2);
  EXPECT_EQ(p.responses, 4);
}

TEST(PassStatistics, lengths_and_what_was_cut_off_are_those_of_all_responses) {
  EvaluatedSource s{"s", {}, 0};
  for (int i = 0; i < 10; ++i) s.prompts.push_back(prompt("1", {"1", i < 3 ? "cut" : "2"}));
  for (int i = 0; i < 20; ++i) s.prompts[static_cast<size_t>(i) / 2].responses[static_cast<size_t>(i) % 2].tokens = i + 1;
  const PassStatistics p = pass_statistics({&s}, {"math"}, 1);
  EXPECT_EQ(*p.tokens_mean, 10.5);
  EXPECT_EQ(*p.tokens_median, 10);
  EXPECT_EQ(*p.tokens_p95, 19);
  EXPECT_EQ(p.tokens_max, 20);
  EXPECT_EQ(p.tokens, 210);
  EXPECT_NEAR(*p.truncated, 3. / 20, 1e-12);
}

TEST(PassStatistics, a_line_of_a_response_says_whether_it_passed_at_the_limit_that_was_asked_for) {
  EvaluatedPrompt p = prompt("1", {"1"});
  p.responses[0].score.reward = 0.5;
  EXPECT_EQ(response_json("s", p, 0, 0.5).at("passed"), true);
  EXPECT_EQ(response_json("s", p, 0, 0.6).at("passed"), false);
}

}  // namespace
}  // namespace r1
