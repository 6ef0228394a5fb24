#include "rewards/expression.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "rewards/rules.h"

namespace r1 {
namespace {

double eval(const std::string& text, const std::map<std::string, double>& values = {}) {
  return RewardExpression::parse(text).evaluate([&](const std::string& name) { return values.at(name); });
}

std::string refusal(const std::string& text, int column) {
  try {
    RewardExpression::parse(text, {"a.graph", 7, 11});
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    EXPECT_EQ(e.where().file, "a.graph");
    EXPECT_EQ(e.where().line, 7);
    EXPECT_EQ(e.where().column, 10 + column) << text << ": " << e.what();
    return e.what();
  }
  return "accepted";
}

TEST(RewardExpression, follows_the_usual_precedence) {
  EXPECT_EQ(eval("1 + 2 * 3"), 7);
  EXPECT_EQ(eval("(1 + 2) * 3"), 9);
  EXPECT_EQ(eval("10 - 4 - 3"), 3);
  EXPECT_EQ(eval("24 / 4 / 2"), 3);
  EXPECT_EQ(eval("-2 * -3"), 6);
  EXPECT_EQ(eval("--2"), 2);
  EXPECT_EQ(eval("1 - -1"), 2);
  EXPECT_EQ(eval("2e-1 + .5"), 0.7);
  EXPECT_EQ(eval(" 1+1 "), 2);
}

TEST(RewardExpression, comparisons_are_one_or_zero_and_bind_last) {
  EXPECT_EQ(eval("1 + 1 < 3"), 1);
  EXPECT_EQ(eval("2 <= 1"), 0);
  EXPECT_EQ(eval("2 == 2"), 1);
  EXPECT_EQ(eval("2 >= 3"), 0);
  EXPECT_EQ(eval("3 > 2"), 1);
  EXPECT_EQ(eval("2 * (3 > 2)"), 2);
}

TEST(RewardExpression, functions) {
  EXPECT_EQ(eval("min(3, 1, 2)"), 1);
  EXPECT_EQ(eval("max(3, 1, 5, 2)"), 5);
  EXPECT_EQ(eval("abs(-4)"), 4);
  EXPECT_EQ(eval("clamp(7, 0, 1)"), 1);
  EXPECT_EQ(eval("clamp(-7, 0, 1)"), 0);
  EXPECT_DOUBLE_EQ(eval("sigmoid(0)"), 0.5);
  EXPECT_DOUBLE_EQ(eval("sigmoid(2)"), 1 / (1 + std::exp(-2.0)));
  EXPECT_EQ(eval("if(1 < 2, 10, 20)"), 10);
  EXPECT_EQ(eval("if(0, 10, 20)"), 20);
}

// DAPO eq. 13 with L_max = 96 and L_cache = 24: nothing up to 72 tokens, -1/2 at 84, -1 at 96 and beyond.
TEST(RewardExpression, overlong_punishes_softly_from_max_minus_cache_on) {
  const std::pair<double, double> points[] = {{1, 0}, {71, 0}, {72, 0}, {73, -1.0 / 24}, {84, -0.5}, {96, -1}, {97, -1}};
  for (const auto& [length, value] : points) {
    EXPECT_DOUBLE_EQ(eval("overlong(length, 96, 24)", {{"length", length}}), value) << length;
    EXPECT_DOUBLE_EQ(eval("accuracy + 0.5 * overlong(length, 96, 24)", {{"accuracy", 1}, {"length", length}}), 1 + value / 2);
  }
  EXPECT_EQ(eval("overlong(1, 10, 10)"), -0.1) << "a cache of the whole length begins at once";
  const auto e = RewardExpression::parse("1 + overlong(length, 96, 24)", {"a.graph", 7, 11});
  ASSERT_EQ(e.overlongs().size(), 1u);
  EXPECT_EQ(e.overlongs()[0].max, 96);
  EXPECT_EQ(e.overlongs()[0].cache, 24);
  EXPECT_EQ(e.overlongs()[0].where.column, 15);
}

TEST(RewardExpression, lists_each_variable_once_and_asks_only_for_those_it_needs) {
  const auto e = RewardExpression::parse("if(harm, sigmoid(safe), helpful + harm)");
  EXPECT_EQ(e.variables(), (std::vector<std::string>{"harm", "safe", "helpful"}));
  std::vector<std::string> asked;
  const double v = e.evaluate([&](const std::string& name) {
    asked.push_back(name);
    return name == "harm" ? 0.0 : 3.0;
  });
  EXPECT_EQ(v, 3);
  EXPECT_EQ(asked, (std::vector<std::string>{"harm", "helpful", "harm"}));
}

TEST(RewardExpression, the_reward_of_reasoning_rl) {
  const std::string r = "format * (accuracy + 0.2 + 0.2 * language)";
  EXPECT_DOUBLE_EQ(eval(r, {{"format", 1}, {"accuracy", 1}, {"language", 1}}), 1.4);
  EXPECT_DOUBLE_EQ(eval(r, {{"format", 1}, {"accuracy", 0}, {"language", 0.5}}), 0.3);
  EXPECT_DOUBLE_EQ(eval(r, {{"format", 0}, {"accuracy", 1}, {"language", 1}}), 0);
}

TEST(RewardExpression, the_reward_of_rl_for_all_scenarios) {
  const std::string preference = "(0.7 * sigmoid(helpful) + 0.3 * sigmoid(harmless))";
  const std::string r = "format * (0.2 + 0.2 * language + if(reasoning, accuracy, if(harm, sigmoid(harmless), if(kind_color, " +
                        preference + ", 0.7 * accuracy + 0.3 * " + preference + "))))";
  std::map<std::string, double> v = {{"format", 1}, {"language", 1},   {"accuracy", 1}, {"reasoning", 1},
                                     {"harm", 0},   {"kind_color", 0}, {"helpful", 0},  {"harmless", 0}};
  EXPECT_DOUBLE_EQ(eval(r, v), 1.4);
  v["reasoning"] = 0;
  EXPECT_DOUBLE_EQ(eval(r, v), 0.4 + 0.7 + 0.3 * 0.5);
  v["kind_color"] = 1;
  EXPECT_DOUBLE_EQ(eval(r, v), 0.4 + 0.5);
  v["harm"] = 1;
  v["harmless"] = 100;
  EXPECT_DOUBLE_EQ(eval(r, v), 1.4);
}

TEST(RewardExpression, errors_carry_the_column) {
  EXPECT_NE(refusal("format * (accuracy", 10).find("never closed"), std::string::npos);
  EXPECT_NE(refusal("format *", 9).find("ends too early"), std::string::npos);
  EXPECT_NE(refusal("", 1).find("ends too early"), std::string::npos);
  EXPECT_NE(refusal("a b", 3).find("unexpected 'b'"), std::string::npos);
  EXPECT_NE(refusal("a % b", 3).find("unexpected '%'"), std::string::npos);
  EXPECT_NE(refusal("a + \xE4\xBD\xA0", 5).find("unexpected '\xE4\xBD\xA0'"), std::string::npos);
  EXPECT_NE(refusal("a + sigmiod(b)", 5).find("did you mean 'sigmoid'?"), std::string::npos);
  EXPECT_NE(refusal("a + sigmoid", 5).find("is a function"), std::string::npos);
  EXPECT_NE(refusal("1 + if(a, b)", 5).find("if takes 3 arguments, not 2"), std::string::npos);
  EXPECT_NE(refusal("a + overlong(n)", 5).find("overlong takes at least 2 arguments, not 1"), std::string::npos);
  EXPECT_NE(refusal("a + overlong(n, m, 3)", 5).find("numbers of tokens"), std::string::npos);
  EXPECT_NE(refusal("overlong(n, 9, 10)", 1).find("last 10 of 9 tokens"), std::string::npos);
  EXPECT_NE(refusal("overlong(n, 9, 0)", 1).find("last 0 of 9 tokens"), std::string::npos);
  EXPECT_NE(refusal("min(a)", 1).find("min takes at least 2 arguments, not 1"), std::string::npos);
  EXPECT_NE(refusal("1 < 2 < 3", 7).find("unexpected '<'"), std::string::npos);
  EXPECT_NE(refusal("a)", 2).find("unexpected ')'"), std::string::npos);
  EXPECT_NE(refusal("1 + .", 5).find("not a number"), std::string::npos);
  EXPECT_NE(refusal(std::string(5000, '('), 201).find("nested too deeply"), std::string::npos);
}

TEST(RewardExpression, lies_between_bounds_that_follow_from_those_of_its_names) {
  const auto bounds = [](const std::string& text) {
    const Bounds b = RewardExpression::parse(text).bounds([](const std::string& name) {
      return name == "share" ? Bounds{0, 1} : name == "tokens" ? Bounds{0, 96} : Bounds{};
    });
    return std::pair(b.least, b.most);
  };
  const double inf = std::numeric_limits<double>::infinity();
  const auto range = [](double a, double b) { return std::pair(a, b); };
  EXPECT_EQ(bounds("3"), range(3, 3));
  EXPECT_EQ(bounds("share * (share + 0.2)"), range(0, 1.2));
  EXPECT_EQ(bounds("share - 2 * share"), range(-2, 1));
  EXPECT_EQ(bounds("-(tokens - 48) / 2"), range(-24, 24));
  EXPECT_EQ(bounds("(share - 0.5) * (tokens - 32)"), range(-32, 32));
  EXPECT_EQ(bounds("tokens / (share + 1)"), range(0, 96));
  EXPECT_EQ(bounds("1 / share"), range(-inf, inf)) << "a division by zero is no number";
  EXPECT_EQ(bounds("abs(tokens - 90)"), range(0, 90));
  EXPECT_EQ(bounds("abs(0 - tokens - 1)"), range(1, 97));
  EXPECT_EQ(bounds("tokens > 7"), range(0, 1));
  EXPECT_EQ(bounds("tokens > 96"), range(0, 0));
  EXPECT_EQ(bounds("tokens >= 96"), range(0, 1));
  EXPECT_EQ(bounds("tokens <= 96"), range(1, 1));
  EXPECT_EQ(bounds("tokens < 96"), range(0, 1));
  EXPECT_EQ(bounds("tokens < 0"), range(0, 0));
  EXPECT_EQ(bounds("share == 2"), range(0, 0));
  EXPECT_EQ(bounds("share == 1"), range(0, 1));
  EXPECT_EQ(bounds("3 == 3"), range(1, 1));
  EXPECT_EQ(bounds("score > 3"), range(0, 1));
  EXPECT_EQ(bounds("if(share > 1, score, tokens)"), range(0, 96));
  EXPECT_EQ(bounds("if(share + 1, share, score)"), range(0, 1));
  EXPECT_EQ(bounds("min(tokens, share)"), range(0, 1));
  EXPECT_EQ(bounds("max(tokens, 20)"), range(20, 96));
  EXPECT_EQ(bounds("clamp(score, -3, tokens)"), range(-3, 96));
  EXPECT_EQ(bounds("if(score, share, 5)"), range(0, 5));
  EXPECT_EQ(bounds("overlong(tokens, 96, 24)"), range(-1, 0));
  EXPECT_EQ(bounds("sigmoid(score)"), range(0, 1));
  EXPECT_EQ(bounds("score + share"), range(-inf, inf));
  EXPECT_EQ(bounds("0 * score"), range(0, 0));
  EXPECT_EQ(bounds("score - score"), range(0, 0));
  EXPECT_EQ(bounds("max(score, 2 * tokens) / max(score, 2 * tokens)"), range(1, 1));
  EXPECT_EQ(bounds("tokens >= tokens"), range(1, 1));
  EXPECT_EQ(bounds("tokens < tokens"), range(0, 0));
  EXPECT_EQ(bounds("score + score"), range(-inf, inf));
  EXPECT_EQ(bounds("share - tokens"), range(-96, 1));
}

TEST(RewardExpression, is_one_value_for_a_prompt_where_only_what_the_prompt_gives_can_change_it) {
  const auto same = [](const std::string& text) {
    return RewardExpression::parse(text).same_for_all(
        [](const std::string& name) {
          return name == "score" ? Bounds{} : name == "tokens" ? Bounds{0, 96} : Bounds{0, 1};
        },
        [](const std::string& name) { return name == "fact"; });
  };
  for (const char* text :
       {"3", "fact", "share * 0", "share - share", "0.5 + 0 * score", "fact + (tokens > 96)",
        "if(fact, share * 0, min(tokens, 0) + fact)", "if(share, fact, fact)", "if(tokens > 96, share, fact)",
        "if(share >= 0, 1, share)", "sigmoid(1000 + share)", "fact * (score - score) * share"})
    EXPECT_TRUE(same(text)) << text;
  for (const char* text : {"share", "fact * share", "share + fact", "if(fact, share, 0)", "if(share, fact, 0)", "tokens > 95",
                           "score - share", "min(share, 0.5)", "share == share + fact", "share + score - share"})
    EXPECT_FALSE(same(text)) << text;
}

TEST(RewardExpression, a_division_by_zero_is_a_failure_not_a_nan_reward) {
  EXPECT_THROW(eval("1 / 0"), Error);
  EXPECT_THROW(eval("0 / 0"), Error);
}

TEST(RewardExpression, no_function_hides_a_step_that_is_no_number) {
  for (const char* text : {"min(1, 0 / 0)", "max(0 / 0, 1)", "clamp(0 / 0, 0, 1)", "if(0 / 0 > 1, 1, 0)", "sigmoid(-1 / 0)",
                           "if(1 / 0, 1, 0)", "overlong(0 / 0, 9, 3)", "0 * (1 / 0 == 2)"})
    EXPECT_THROW(eval(text), Error) << text;
  const auto e = RewardExpression::parse("max(helpful, 0)");
  try {
    e.evaluate([](const std::string&) { return NAN; });
    ADD_FAILURE() << "a model's NaN became a reward";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("'helpful' is nan"), std::string::npos) << error.message();
  }
  EXPECT_EQ(eval("if(1, 2, 1 / 0)"), 2) << "what is not chosen is not computed";
}

TEST(RewardExpression, unknown_variables_are_found_up_front) {
  const auto e = RewardExpression::parse("format * acuracy");
  std::vector<std::string> known = rule_names();
  try {
    check_variables(e, known, {"a.graph", 3, 1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'accuracy'?"), std::string::npos) << error.what();
  }
  EXPECT_NO_THROW(check_variables(RewardExpression::parse("format * accuracy"), known));
}

}  // namespace
}  // namespace r1
