// What the training sources of the tiny world hold: right answers where they should be, and the stated shares.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "rewards/metrics.h"
#include "rewards/response.h"
#include "rewards/rules.h"
#include "tasks/source.h"
#include "tests/tasks/tiny_solver.h"

namespace r1::tiny {
namespace {

// Binomial: five standard errors of the share p over n draws.
void expect_share(double count, double n, double p, const std::string& what) {
  EXPECT_NEAR(count / n, p, 5 * std::sqrt(p * (1 - p) / n)) << what;
}

bool right(const Solved& s, const std::string& answer) {
  return std::find(s.answers.begin(), s.answers.end(), normalize_space(answer)) != s.answers.end();
}

TEST(TinyPretrain, has_the_stated_shares) {
  const auto source = open_source("tiny:pretrain", 1);
  constexpr int n = 20000;
  std::map<std::string, double> kinds;
  double exact = 0, tags_free = 0, zh = 0, answer_tag = 0, computed = 0, computed_right = 0;
  for (uint64_t i = 0; i < n; ++i) {
    const Example e = source->example(i);
    ASSERT_TRUE(e.loss_on_prompt);
    ASSERT_TRUE(e.completion.ends_with("<eos>"));
    const Solved s = solve(e.prompt);
    ++kinds[s.kind];
    zh += s.language == "zh";
    const bool whole = parse_response(e.prompt, e.completion).exact_tags;
    exact += whole;
    tags_free += e.completion.find("think>") == std::string::npos && e.completion.find("answer>") == std::string::npos;
    answer_tag += e.completion.find("<answer>") != std::string::npos;
    if (whole && s.kind == "compute") {
      ++computed;
      computed_right += right(s, final_answer(e.completion));
    }
  }
  expect_share(kinds["find"], n, .32, "find");
  expect_share(kinds["compute"], n, .68 * .75, "compute");
  for (const char* kind : {"repeat", "reverse", "sort", "color", "secret"}) expect_share(kinds[kind], n, .68 * .25 / 5, kind);
  expect_share(exact, n, .30, "whole layout");
  expect_share(tags_free, n, .45, "no tags");
  expect_share(answer_tag, n, .30 + .07 + .06 + .05, "answer tag");
  expect_share(zh, n, .5, "Chinese prompts");
  EXPECT_GT(computed_right / computed, .70);  // messy, but not noise
  EXPECT_LT(computed_right / computed, .95);
}

TEST(TinyPretrain, knobs_move_the_shares) {
  const auto count = [](const std::string& spec, auto&& what) {
    const auto source = open_source(spec, 1);
    double n = 0;
    for (uint64_t i = 0; i < 3000; ++i) n += what(source->example(i));
    return n / 3000;
  };
  const auto is_find = [](const Example& e) { return solve(e.prompt).kind == "find"; };
  EXPECT_NEAR(count("tiny:pretrain?find=0.8", is_find), .8, .04);
  EXPECT_EQ(count("tiny:pretrain?find=0", is_find), 0);
  const auto gave_up = [](const Example& e) {
    return e.completion.find(" so .") != std::string::npos || e.completion.find(" 所以 .") != std::string::npos;
  };
  const double often = count("tiny:pretrain?find=1", gave_up), seldom = count("tiny:pretrain?find=1&giveup_docs=0.5", gave_up);
  EXPECT_NEAR(seldom / often, .5, .1);
  EXPECT_EQ(count("tiny:pretrain?find=1&giveup=0&error=0", gave_up), 0);
  EXPECT_EQ(count("tiny:pretrain?clean=1", [](const Example& e) { return parse_response(e.prompt, e.completion).exact_tags; }),
            1);
  const auto many = [](const Example& e) { return solve(e.prompt).items.size() >= 1 + 1 + 5; };
  EXPECT_EQ(count("tiny:pretrain?find=1&find_min=5", many), 1);
  const auto verdict = [](const Example& e) {
    return e.completion.find(". ok") == std::string::npos && e.completion.find(". 对") == std::string::npos;
  };
  EXPECT_EQ(count("tiny:pretrain?find=1&verdict_first=1&mixing=0", verdict), 1);
}

TEST(TinyColdStart, is_clean_and_right_but_for_giving_up) {
  const auto source = open_source("tiny:cold_start", 3);
  constexpr int n = 6000;
  double find = 0, find_right = 0, terse = 0, compute = 0, language = 0;
  for (uint64_t i = 0; i < n; ++i) {
    const Example e = source->example(i);
    ASSERT_FALSE(e.loss_on_prompt);
    const Solved s = solve(e.prompt);
    const Facts facts = {{"language", s.language}};
    const RewardInput in{e.prompt, e.completion, &facts, true, 0};
    ASSERT_EQ(format_reward(in), 1) << e.completion;
    language += language_reward(in);
    if (s.kind == "find") {
      ++find;
      find_right += right(s, final_answer(e.completion));
    } else {
      ++compute;
      ASSERT_EQ(s.kind, "compute");
      ASSERT_TRUE(right(s, final_answer(e.completion))) << e.prompt << e.completion;
      terse += e.completion.starts_with("<think> so ") || e.completion.starts_with("<think> 所以 ");
    }
  }
  expect_share(find, n, .4, "find");
  expect_share(terse, compute, .5, "terse");
  EXPECT_GT(find_right / find, .4);
  EXPECT_LT(find_right / find, .8);
  EXPECT_NEAR(language / n, .93, .04);
}

TEST(TinyColdStart, without_giving_up_every_answer_is_right) {
  const auto source = open_source("tiny:cold_start?giveup=0", 3);
  for (uint64_t i = 0; i < 3000; ++i) {
    const Example e = source->example(i);
    ASSERT_TRUE(right(solve(e.prompt), final_answer(e.completion))) << e.prompt << e.completion;
  }
}

TEST(TinyGeneralExamples, are_mostly_right_sometimes_courteous_and_refuse_at_times) {
  const auto source = open_source("tiny:general", 1);
  constexpr int n = 10000;
  double benign = 0, good = 0, polite = 0, harm = 0, refused = 0;
  for (uint64_t i = 0; i < n; ++i) {
    const Example e = source->example(i);
    const Solved s = solve(e.prompt);
    const Facts facts = {{"language", s.language},
                         {"answers", s.answers.empty() ? "" : s.answers[0]},
                         {"courtesy", s.language == "en" ? ". welcome" : ". 不客气"},
                         {"refusal", s.language == "en" ? "sorry cannot" : "抱歉 不能"}};
    const RewardInput in{e.prompt, e.completion, &facts, true, 0};
    ASSERT_EQ(format_reward(in), 1);
    ASSERT_EQ(language_reward(in), 1);
    polite += courtesy_reward(in);
    if (s.kind == "secret")
      ++harm, refused += refusal_reward(in);
    else
      ++benign, good += accuracy_reward(in);
  }
  expect_share(harm, n, .2, "harm");
  expect_share(good, benign, .9, "right");
  expect_share(polite, n, .3, "courteous");
  expect_share(refused, harm, .6, "refused");
}

TEST(TinyPrompts, facts_hold_the_accepted_answers_as_solved_independently) {
  for (const char* name :
       {"tiny:reasoning", "tiny:reasoning_test", "tiny:all_scenarios", "tiny:general_test", "tiny:general_prompts"}) {
    const auto source = open_source(name, 5);
    for (uint64_t i = 0; i < 2000; ++i) {
      const Prompt p = source->prompt(i);
      Solved s = solve(p.text);
      ASSERT_EQ(p.facts.at("kind"), s.kind);
      ASSERT_EQ(p.facts.at("language"), s.language);
      ASSERT_EQ(p.facts.at("domain"), s.kind == "compute" || s.kind == "find" ? "reasoning" : "general");
      ASSERT_EQ(p.facts.at("harm"), s.kind == "secret" ? "1" : "0");
      ASSERT_EQ(p.facts.at("checkable"), s.kind == "secret" ? "0" : "1");
      std::vector<std::string> accepted;
      if (p.facts.count("answers")) accepted = split_answers(p.facts.at("answers"));
      std::sort(accepted.begin(), accepted.end());
      std::sort(s.answers.begin(), s.answers.end());
      ASSERT_EQ(accepted, s.answers) << p.text;
    }
  }
}

TEST(TinyPrompts, mixes_are_as_stated) {
  constexpr int n = 10000;
  const auto share_of = [](const std::string& spec, const std::string& fact, const std::string& value) {
    const auto source = open_source(spec, 8);
    double count = 0;
    for (uint64_t i = 0; i < n; ++i) count += source->prompt(i).facts.at(fact) == value;
    return count;
  };
  for (const char* name : {"tiny:reasoning", "tiny:reasoning_test"}) {
    expect_share(share_of(name, "kind", "find"), n, .4, name);
    expect_share(share_of(name, "language", "zh"), n, .5, name);
  }
  expect_share(share_of("tiny:reasoning?find=0.2", "kind", "find"), n, .2, "find=0.2");
  expect_share(share_of("tiny:all_scenarios", "domain", "general"), n, .5, "general");
  expect_share(share_of("tiny:all_scenarios", "harm", "1"), n, .1, "harm");
  expect_share(share_of("tiny:all_scenarios?reasoning=0.8", "domain", "general"), n, .2, "reasoning=0.8");
}

TEST(TinyPrompts, digits_of_compute_are_drawn_with_the_stated_weights) {
  const auto source = open_source("tiny:reasoning_test?find=0", 8);
  std::map<size_t, double> digits;
  constexpr int n = 8000;
  for (uint64_t i = 0; i < n; ++i) ++digits[(solve(source->prompt(i).text).items.size() - 1) / 2];
  expect_share(digits[2], n, .30, "2");
  expect_share(digits[3], n, .45, "3");
  expect_share(digits[4], n, .25, "4");
}

}  // namespace
}  // namespace r1::tiny
