// Problems, thoughts and answers of the tiny world, against cases worked out by hand and the rewards.
#include <gtest/gtest.h>

#include <set>

#include "rewards/rules.h"
#include "tasks/tiny/documents.h"
#include "tasks/tiny/vocabulary.h"
#include "tests/tasks/tiny_solver.h"

namespace r1::tiny {
namespace {

std::string thought(const Compute& c, ComputeStyle style, Lang lang = Lang::en) {
  Rng rng(1, "test");
  Speaker s(rng, lang);
  EXPECT_EQ(think(c, style, {}, rng, s), c.result());
  return s.text();
}

TEST(TinyCompute, thoughts_read_as_derived_by_hand) {
  EXPECT_EQ(thought({3, 472, 385, false}, ComputeStyle::columns),
            " two plus five is seven . seven plus eight is five carry . four plus three carry is eight .");
  EXPECT_EQ(thought({2, 95, 17, false}, ComputeStyle::columns),
            " five plus seven is two carry . nine plus one carry is one carry . carry is one .");
  EXPECT_EQ(thought({3, 403, 125, true}, ComputeStyle::columns),
            " three minus five is eight borrow . zero minus two borrow is seven borrow . four minus one borrow is two .");
  EXPECT_EQ(thought({2, 95, 27, false}, ComputeStyle::terse), " so nine plus two .");
  EXPECT_EQ(thought({1, 4, 3, false}, ComputeStyle::check),
            " four plus three is seven . check four plus three is seven . ok .");
  EXPECT_EQ(thought({2, 12, 34, false}, ComputeStyle::columns, Lang::zh), " 二 加 四 得 六 . 一 加 三 得 四 .");
  EXPECT_EQ(thought({2, 12, 34, false}, ComputeStyle::none), "");
}

TEST(TinyCompute, prompts_and_answers_are_digits_one_by_one) {
  EXPECT_EQ(prompt_words(Compute{3, 472, 385, false}, Lang::en), " compute 4 7 2 + 3 8 5");
  EXPECT_EQ(prompt_words(Compute{2, 47, 12, true}, Lang::zh), " 计算 4 7 - 1 2");
  EXPECT_EQ(digits_text(0), " 0");
  EXPECT_EQ(compute_prompt({3, 405, 399, true}, Lang::en).facts.at("answers"), "6");
}

TEST(TinyCompute, held_out_by_the_stated_hash) {
  const auto by_hand = [](long a, long b, bool minus) {
    return ((7919 * a + 104729 * b + (minus ? 15485863 : 0)) >> 3) % 8 == 0;
  };
  int n = 0;
  for (int a = 10; a < 100; ++a)
    for (int b = 10; b <= a; ++b)
      for (const bool minus : {false, true}) {
        ASSERT_EQ(held_out(Compute{2, a, b, minus}), by_hand(a, b, minus));
        n += by_hand(a, b, minus);
      }
  EXPECT_NEAR(n / (90 * 91.0), 1 / 8.0, 0.02);
  for (int a = 0; a < 10; ++a) EXPECT_FALSE(held_out(Compute{1, a, a, false}));
}

TEST(TinyCompute, an_error_is_repaired_by_wait_or_carried_into_the_result) {
  Rng rng(3, "errors");
  int wrong = 0, waits = 0;
  for (int i = 0; i < 500; ++i) {
    const Compute c = draw_compute(rng, {0, 1, 1, 1}, Side::any);
    Speaker repaired(rng, Lang::en), carried(rng, Lang::en);
    ASSERT_EQ(think(c, ComputeStyle::columns, {.5, 1}, rng, repaired), c.result());
    waits += repaired.text().find(" wait ") != std::string::npos;
    wrong += think(c, ComputeStyle::columns, {.5, 0}, rng, carried) != c.result();
    ASSERT_EQ(carried.text().find("wait"), std::string::npos);
  }
  EXPECT_GT(waits, 250);
  EXPECT_GT(wrong, 250);
}

TEST(TinyFind, thoughts_read_as_derived_by_hand) {
  const Find f{13, {2, 6, 9, 4, 5}};
  EXPECT_EQ(prompt_words(f, Lang::en), " find 1 3 : 2 6 9 4 5");
  EXPECT_EQ(prompt_words(Find{7, {5, 2, 1, 4}}, Lang::zh), " 寻找 7 : 5 2 1 4");
  EXPECT_EQ(f.solution(), (std::pair{9, 4}));
  Rng rng(1, "test");
  Speaker s(rng, Lang::en), v(rng, Lang::en), g(rng, Lang::zh);
  EXPECT_EQ(think(f, {}, rng, s), f.solution());
  EXPECT_EQ(s.text(), " try two need one one . wait try six need seven . wait try nine need four . ok .");
  EXPECT_EQ(think(f, {0, 0, true}, rng, v), f.solution());
  EXPECT_EQ(v.text(), " try two need one one wait try six need seven wait try nine need four ok .");
  think(f, {1, 0, false}, rng, g);
  EXPECT_EQ(g.text(), " 试 二 要 一 一 . 所以 .");
}

TEST(TinyFind, every_problem_has_exactly_one_pair) {
  Rng rng(5, "find");
  std::map<size_t, int> sizes;
  for (int i = 0; i < 3000; ++i) {
    const Find f = draw_find(rng, i % 2 ? 4 : 5, Side::any);
    const auto solved = solve(prompt_text(prompt_words(f, Lang::en)));
    ASSERT_EQ(solved.answers.size(), 2u) << prompt_words(f, Lang::en);  // the pair in both orders
    for (const int x : f.numbers) ASSERT_NE(2 * x, f.target);
    if (i % 2) ++sizes[f.numbers.size()];
  }
  EXPECT_NEAR(sizes[4] / 1500.0, .40, .05);
  EXPECT_NEAR(sizes[5] / 1500.0, .35, .05);
  EXPECT_NEAR(sizes[6] / 1500.0, .25, .05);
}

TEST(TinyFind, a_search_without_bad_habits_always_ends_at_the_pair) {
  Rng rng(6, "find");
  for (int i = 0; i < 2000; ++i) {
    const Find f = draw_find(rng, 4, Side::any);
    Speaker s(rng, Lang::en);
    ASSERT_EQ(think(f, {}, rng, s), f.solution()) << prompt_words(f, Lang::en) << s.text();
  }
}

TEST(TinyGeneral, answers_read_as_derived_by_hand) {
  EXPECT_EQ(items_text(answer_items({GeneralKind::reverse, {"a", "c", "b"}}), Lang::en), " b c a");
  EXPECT_EQ(items_text(answer_items({GeneralKind::sort, {"h", "c", "c"}}), Lang::en), " c c h");
  EXPECT_EQ(items_text(answer_items({GeneralKind::color, {"sky", "snow"}}), Lang::zh), " 蓝 白");
  EXPECT_EQ(items_text(answer_items({GeneralKind::secret, {"bank", "c"}}), Lang::zh), " 抱歉 不能");
  EXPECT_EQ(prompt_words(General{GeneralKind::secret, {"bank", "c", "f"}}, Lang::en), " secret bank c f");
  EXPECT_EQ(prompt_words(General{GeneralKind::color, {"sky", "snow"}}, Lang::zh), " 颜色 天空 雪");
  Rng rng(1, "t");
  Speaker a(rng, Lang::en), b(rng, Lang::en), c(rng, Lang::zh);
  think(General{GeneralKind::color, {"sky", "snow"}}, a);
  think(General{GeneralKind::secret, {"bank", "c"}}, b);
  think(General{GeneralKind::repeat, {"a", "c", "d"}}, c);
  EXPECT_EQ(a.text(), " know sky snow .");
  EXPECT_EQ(b.text(), " unsafe bank .");
  EXPECT_EQ(c.text(), " 任务 重复 .");
}

TEST(TinyGeneral, a_wrong_answer_is_never_the_right_one) {
  Rng rng(2, "wrong");
  for (int i = 0; i < 3000; ++i) {
    const General g = draw_general(rng, Side::any, true);
    const auto wrong = wrong_items(g, rng);
    ASSERT_NE(wrong, answer_items(g));
    ASSERT_FALSE(wrong.empty());
  }
}

// The property that ties tasks and rewards together: a clean, right response to any prompt earns everything.
TEST(TinyWorld, a_clean_response_scores_full_marks_by_the_rewards) {
  Rng rng(9, "clean");
  int tasks[7] = {};
  for (int i = 0; i < 4000; ++i) {
    const Lang lang = i % 2 ? Lang::zh : Lang::en;
    Speaker s(rng, lang);
    Prompt p;
    std::string answer;
    const int task = i % 7;
    if (task == 0) {
      const Compute c = draw_compute(rng, {1, 1, 1, 1}, Side::any);
      p = compute_prompt(c, lang);
      answer = digits_text(think(c, static_cast<ComputeStyle>(1 + rng.below(3)), {.3, 1}, rng, s));
    } else if (task == 1) {
      const Find f = draw_find(rng, 4, Side::any);
      p = find_prompt(f, lang);
      answer = pair_text(think(f, {0, 0, i % 4 < 2}, rng, s));
    } else {
      const General g = draw_general(rng, static_cast<GeneralKind>(task - 2), Side::any);
      p = general_prompt(g, lang);
      think(g, s);
      answer = items_text(answer_items(g), lang);
      if (i % 3 == 0) answer += courtesy_text(lang);
    }
    const std::string response = response_text(s.text(), answer);
    const RewardInput in{p.text, response, &p.facts, true, 0};
    ASSERT_EQ(format_reward(in), 1) << p.text << response;
    ASSERT_EQ(language_reward(in), 1) << p.text << response;
    const bool harm = p.facts.at("harm") == "1";
    ASSERT_EQ(harm ? refusal_reward(in) : accuracy_reward(in), 1) << p.text << response;
    ASSERT_EQ(courtesy_reward(in), task >= 2 && i % 3 == 0 ? 1 : 0) << p.text << response;
    ++tasks[task];
  }
  for (const int n : tasks) EXPECT_GT(n, 500);
}

TEST(TinyWorld, language_reward_equals_the_token_definition) {
  // docs/recipe.md section 3: words of the target language over words of both; shared symbols do not count.
  std::set<std::string> en, zh;
  for (size_t i = 9 + 22; i < 9 + 22 + 53; ++i) en.insert(vocabulary()[i]);
  for (size_t i = 9 + 22 + 53; i < 137; ++i) zh.insert(vocabulary()[i]);
  Rng rng(10, "language");
  for (int i = 0; i < 1000; ++i) {
    Speaker s(rng, Lang::en, .4);
    if (i % 2)
      think(draw_compute(rng, {1, 1, 1, 1}, Side::any), ComputeStyle::check, {.1, .5}, rng, s);
    else
      think(draw_find(rng, 4, Side::any), {.2, .1, false}, rng, s);
    double n_en = 0, n_zh = 0;
    for (const std::string& w : split_words(s.text())) n_en += en.count(w), n_zh += zh.count(w);
    const std::string response = response_text(s.text(), " 1");
    const Facts facts = {{"language", "zh"}};
    ASSERT_DOUBLE_EQ(language_reward({"", response, &facts, true, 0}), n_zh / (n_en + n_zh)) << s.text();
  }
}

}  // namespace
}  // namespace r1::tiny
