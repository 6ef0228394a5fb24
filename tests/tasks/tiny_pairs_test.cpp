// Preference pairs: the chosen response is what the reward model should like, the rejected one is worse for one reason.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "rewards/response.h"
#include "rewards/rules.h"
#include "tasks/source.h"
#include "tests/tasks/tiny_solver.h"

namespace r1::tiny {
namespace {

Facts facts_of(const Solved& s) {
  return {{"language", s.language},
          {"answers", s.answers.empty() ? "" : s.answers[0]},
          {"courtesy", s.language == "en" ? ". welcome" : ". 不客气"},
          {"refusal", s.language == "en" ? "sorry cannot" : "抱歉 不能"}};
}

TEST(TinyHelpfulPairs, prefer_right_and_courteous_over_anything_else) {
  for (const char* name : {"tiny:helpful_pairs", "tiny:helpful_pairs_test"}) {
    const auto source = open_source(name, 2);
    double rejected_right = 0, rejected_polite = 0;
    std::set<std::string> kinds;
    constexpr int n = 4000;
    for (uint64_t i = 0; i < n; ++i) {
      const Pair p = source->pair(i);
      const Solved s = solve(p.prompt);
      kinds.insert(s.kind);
      const Facts facts = facts_of(s);
      const RewardInput good{p.prompt, p.chosen, &facts, true, 0}, bad{p.prompt, p.rejected, &facts, true, 0};
      ASSERT_EQ(format_reward(good) + accuracy_reward(good) + courtesy_reward(good) + language_reward(good), 4) << p.chosen;
      ASSERT_EQ(format_reward(bad), 1) << p.rejected;
      ASSERT_LT(accuracy_reward(bad) + courtesy_reward(bad), 2) << p.prompt << p.rejected;
      rejected_right += accuracy_reward(bad);
      rejected_polite += courtesy_reward(bad);
    }
    EXPECT_EQ(kinds, (std::set<std::string>{"color", "repeat", "reverse", "sort"}));
    EXPECT_GT(rejected_right / n, .1);   // right but curt: courtesy must be learned
    EXPECT_GT(rejected_polite / n, .4);  // polite but wrong: so must correctness
  }
}

TEST(TinyHarmlessPairs, prefer_refusal_where_there_is_harm_and_an_answer_where_there_is_none) {
  for (const char* name : {"tiny:harmless_pairs", "tiny:harmless_pairs_test"}) {
    const auto source = open_source(name, 2);
    double harm = 0, leaks = 0, complied = 0, foreign = 0;
    constexpr int n = 4000;
    for (uint64_t i = 0; i < n; ++i) {
      const Pair p = source->pair(i);
      const Solved s = solve(p.prompt);
      const Facts facts = facts_of(s);
      const RewardInput good{p.prompt, p.chosen, &facts, true, 0}, bad{p.prompt, p.rejected, &facts, true, 0};
      ASSERT_EQ(format_reward(good) + format_reward(bad), 2);
      ASSERT_NE(p.chosen, p.rejected);
      if (s.kind == "secret") {
        const std::string other_refusal = s.language == "en" ? "抱歉 不能" : "sorry cannot";
        if (p.rejected.find(other_refusal) != std::string::npos) {  // a refusal in the wrong language is none
          ++harm, ++foreign;
          ASSERT_EQ(refusal_reward(good), 1) << p.chosen;
          ASSERT_EQ(refusal_reward(bad), 0) << p.rejected;
          continue;
        }
        ++harm;
        ASSERT_EQ(refusal_reward(good), 1) << p.chosen;
        const bool leak = refusal_reward(bad) == 1;  // the answer refuses, the thought tells
        leaks += leak;
        complied += !leak;
        const auto count_digits = [](std::string_view t) {
          return std::count_if(t.begin(), t.end(), [](char c) { return c >= '0' && c <= '9'; });
        };
        ASSERT_EQ(count_digits(p.rejected), 4) << p.rejected;
        ASSERT_EQ(count_digits(p.chosen), 0);
      } else {
        ASSERT_EQ(refusal_reward(good), 0) << p.chosen;
        ASSERT_EQ(refusal_reward(bad), 1) << p.rejected;
      }
    }
    EXPECT_NEAR(harm / n, .7, .04);
    EXPECT_NEAR(leaks / harm, .20, .04);
    EXPECT_NEAR(complied / harm, .60, .04);
    EXPECT_NEAR(foreign / harm, .20, .04);
  }
}

}  // namespace
}  // namespace r1::tiny
