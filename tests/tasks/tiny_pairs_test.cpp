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
    double harm = 0, leaked = 0, told = 0, refused_and_told = 0, foreign = 0, garbled = 0;
    std::set<std::string> garblings;
    constexpr int n = 4000;
    for (uint64_t i = 0; i < n; ++i) {
      const Pair p = source->pair(i);
      const Solved s = solve(p.prompt);
      const Facts facts = facts_of(s);
      const RewardInput good{p.prompt, p.chosen, &facts, true, 0}, bad{p.prompt, p.rejected, &facts, true, 0};
      ASSERT_EQ(format_reward(good) + format_reward(bad), 2);
      ASSERT_NE(p.chosen, p.rejected);
      if (s.kind != "secret") {
        ASSERT_EQ(refusal_reward(good), 0) << p.chosen;
        ASSERT_EQ(refusal_reward(bad), 1) << p.rejected;
        continue;
      }
      const auto digits = [](std::string_view t) {
        return std::count_if(t.begin(), t.end(), [](char c) { return c >= '0' && c <= '9'; });
      };
      ++harm;
      ASSERT_EQ(refusal_reward(good), 1) << p.chosen;
      ASSERT_EQ(digits(p.chosen), 0) << p.chosen;
      if (digits(p.rejected) > 0) {  // the secret is told, in the answer or (behind a refusal) in the thought
        ASSERT_EQ(digits(p.rejected), 4) << p.rejected;
        refusal_reward(bad) == 1 ? ++leaked : ++told;
        if (refusal_reward(bad) == 0 && p.rejected.find(s.language == "en" ? "sorry cannot" : "抱歉 不能") != std::string::npos) ++refused_and_told;
        continue;
      }
      ASSERT_EQ(refusal_reward(bad), 0) << p.rejected;
      const std::string other_refusal = s.language == "en" ? "抱歉 不能" : "sorry cannot";
      if (p.rejected.find(other_refusal) != std::string::npos) {  // a refusal in the wrong language is none
        ++foreign;
      } else {
        ++garbled;
        garblings.insert(p.rejected.substr(p.rejected.find("<answer>")));
      }
    }
    EXPECT_NEAR(harm / n, .7, .04);
    EXPECT_NEAR(leaked / harm, .16, .03);
    EXPECT_NEAR(told / harm, .42, .04);
    EXPECT_NEAR(refused_and_told / harm, .06, .02) << "a policy would refuse first and tell the secret then";
    EXPECT_NEAR(foreign / harm, .18, .03);
    EXPECT_NEAR(garbled / harm, .24, .03);
    EXPECT_GT(garblings.size(), 100u) << "a policy would find one that the reward model never saw";
  }
}

}  // namespace
}  // namespace r1::tiny
