#include "runtime/until.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace r1 {
namespace {

const std::vector<std::string> kMetrics = {"reward", "loss", "accuracy"};

Until parsed(const std::string& text) { return Until::parse(text, {"g", 3, 9}, {kMetrics, ""}); }

UntilInput after(std::vector<double> rewards, double epochs = 0, double tokens = 0) {
  UntilInput in;
  in.batches = static_cast<int64_t>(rewards.size());
  in.epochs = epochs;
  in.tokens = tokens;
  in.metric = [rewards](const std::string& name) { return name == "reward" ? rewards : std::vector<double>{}; };
  return in;
}

std::string until_error(const std::string& text) {
  try {
    parsed(text);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    return e.what();
  }
  return "accepted";
}

TEST(Until, counts_batches_epochs_and_tokens) {
  EXPECT_FALSE(parsed("batches(3)").reached(after({1, 1})));
  EXPECT_TRUE(parsed("batches(3)").reached(after({1, 1, 1})));
  EXPECT_FALSE(parsed("epochs(1.5)").reached(after({}, 1.4)));
  EXPECT_TRUE(parsed("epochs(1.5)").reached(after({}, 1.5)));
  EXPECT_FALSE(parsed("tokens(1e6)").reached(after({}, 0, 999999)));
  EXPECT_TRUE(parsed("tokens(1e6)").reached(after({}, 0, 1e6)));
}

TEST(Until, a_plateau_compares_the_last_window_with_the_one_before) {
  const Until until = parsed("plateau(reward, 2, 0.1)");
  EXPECT_FALSE(until.reached(after({0, 0, 0})));           // before batch 2 * WINDOW
  EXPECT_TRUE(until.reached(after({0, 0, 0, 0.1})));       // rises by 0.05
  EXPECT_FALSE(until.reached(after({0, 0, 0.25, 0.25})));  // rises by 0.25
  EXPECT_TRUE(until.reached(after({0, 9, 5, 5, 5, 5})));   // only the last two windows count
  EXPECT_TRUE(until.reached(after({5, 5, 1, 1})));         // falling is no progress
}

TEST(Until, a_plateau_waits_for_its_minimum_of_batches_and_for_recorded_values) {
  const Until until = parsed("plateau(reward, 1, 0.1, 4)");
  EXPECT_FALSE(until.reached(after({1, 1, 1})));
  EXPECT_TRUE(until.reached(after({1, 1, 1, 1})));
  UntilInput unrecorded = after({1});
  unrecorded.batches = 10;
  EXPECT_FALSE(until.reached(unrecorded));
}

TEST(Until, above_and_below_compare_the_mean_of_a_window) {
  EXPECT_TRUE(parsed("above(reward, 0.5)").reached(after({0, 0.6})));
  EXPECT_FALSE(parsed("above(reward, 0.6)").reached(after({0, 0.6})));
  EXPECT_FALSE(parsed("above(reward, 0.5, 2)").reached(after({0, 0.6})));
  EXPECT_FALSE(parsed("above(reward, -1, 3)").reached(after({0, 0.6})));
  EXPECT_TRUE(parsed("below(reward, 0.5, 2)").reached(after({9, 0, 0.6})));
  EXPECT_FALSE(parsed("below(loss, 0.5)").reached(after({0})));
}

TEST(Until, a_condition_on_a_metric_is_false_on_an_incomplete_batch_and_a_count_is_not) {
  UntilInput in = after({1, 1, 1, 1});
  in.incomplete = true;
  for (const char* text : {"above(reward, 0)", "below(reward, 2)", "plateau(reward, 1, 0.1)"}) {
    EXPECT_FALSE(parsed(text).reached(in)) << text;
    EXPECT_TRUE(parsed(text).reached(after({1, 1, 1, 1}))) << text;
  }
  EXPECT_TRUE(parsed("above(reward, 0) or batches(4)").reached(in));
}

TEST(Until, epochs_are_refused_where_they_have_no_meaning) {
  EXPECT_NO_THROW(Until::parse("epochs(1)", {"g", 3, 9}, {{}, ""}));
  EXPECT_THROW(Until::parse("batches(9) or epochs(1)", {"g", 3, 9}, {{}, "there are no epochs here"}), Error);
}

TEST(Until, a_metric_may_be_the_call_of_a_rule) {
  const UntilNames names{{"repetition(3)", "regex('a, (b)')"}, ""};
  const Until until = Until::parse("below(repetition(3), 0.1) or above(regex('a, (b)'), 0.5, 2)", {"g", 3, 9}, names);
  EXPECT_EQ(until.metrics().size(), 2u);
  EXPECT_THROW(Until::parse("below(repetition(4), 0.1)", {"g", 3, 9}, names), Error);
  EXPECT_THROW(Until::parse("below(repetition(3, 0.1", {"g", 3, 9}, names), Error);
}

TEST(Until, lists_the_metrics_it_uses) {
  EXPECT_TRUE(parsed("batches(3)").metrics().empty());
  auto names = parsed("above(reward, 1) and (below(loss, 1) or above(reward, 2)) or batches(9)").metrics();
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"loss", "reward"}));
}

TEST(Until, and_binds_tighter_than_or) {
  const Until until = parsed("batches(1) or batches(2) and epochs(1)");
  EXPECT_TRUE(until.reached(after({0})));
  const Until grouped = parsed(" ( batches(1) or batches(2) ) and epochs(1) ");
  EXPECT_FALSE(grouped.reached(after({0})));
  EXPECT_TRUE(grouped.reached(after({0}, 1)));
}

TEST(Until, says_which_call_was_true) {
  const Until until = parsed("plateau( reward,2 , 0.1 ) or batches(160)");
  EXPECT_EQ(until.why(after({0, 1})), "");
  EXPECT_EQ(until.why(after({0, 0, 0, 0})), "plateau(reward, 2, 0.1)");
  EXPECT_EQ(parsed("batches(1) and (epochs(9) or tokens(1))").why(after({0}, 0, 5)), "batches(1) and tokens(1)");
}

TEST(Until, a_goal_is_a_metric_that_came_where_it_was_wanted_and_not_a_limit) {
  UntilInput in;
  in.batches = 8;
  in.metric = [](const std::string&) { return std::vector<double>(8, 0.5); };
  const auto goal = [&](const char* text) { return Until::parse(text, {}, {{"reward"}, ""}).goal(in); };
  EXPECT_EQ(goal("above(reward, 0.4, 2) or batches(8)"), "above(reward, 0.4, 2)");
  EXPECT_EQ(goal("batches(8) and below(reward, 0.6)"), "below(reward, 0.6)");
  EXPECT_EQ(goal("batches(9) and below(reward, 0.6)"), "");
  EXPECT_EQ(goal("above(reward, 0.6) or batches(8)"), "");
  EXPECT_EQ(goal("plateau(reward, 2, 0.1)"), "") << "where nothing is learned everything is a plateau";
}

TEST(Until, knows_the_largest_number_of_batches) {
  EXPECT_EQ(parsed("plateau(reward, 20, 0.005, 80) or batches(160)").batch_limit(), 160);
  EXPECT_EQ(parsed("batches(30) or (batches(20) or epochs(1))").batch_limit(), 20);
  EXPECT_EQ(parsed("batches(7)").batch_limit(), 7);
  EXPECT_EQ(parsed("batches(7) and epochs(1)").batch_limit(), 0);
  EXPECT_EQ(parsed("epochs(1)").batch_limit(), 0);
}

TEST(Until, lists_its_calls_as_they_stand) {
  const auto calls = parsed("above(loss, 2, 3) and (plateau(reward, 20, -0.5, 80) or epochs(1.5)) or batches(160)").calls();
  ASSERT_EQ(calls.size(), 4u);
  EXPECT_EQ(calls[0].text, "above(loss, 2, 3)");
  EXPECT_EQ(calls[0].kind, UntilCall::Kind::above);
  EXPECT_EQ(calls[0].metric, "loss");
  EXPECT_EQ(calls[0].window, 3);
  EXPECT_EQ(calls[1].kind, UntilCall::Kind::plateau);
  EXPECT_EQ(calls[1].value, -0.5);
  EXPECT_EQ(calls[1].min_batches, 80);
  EXPECT_EQ(calls[2].kind, UntilCall::Kind::epochs);
  EXPECT_EQ(calls[2].value, 1.5);
  EXPECT_EQ(calls[3].text, "batches(160)");
  EXPECT_TRUE(calls[3].metric.empty());
}

TEST(Until, copies_share_the_same_condition) {
  Until a = parsed("batches(2)");
  const Until b = a;
  a = parsed("batches(3)");
  EXPECT_EQ(b.batch_limit(), 2);
  EXPECT_EQ(a.batch_limit(), 3);
}

TEST(Until, bad_conditions_get_one_clear_error_with_the_column) {
  EXPECT_EQ(until_error(""), "g:3:9: until is empty (for example batches(100))");
  EXPECT_EQ(until_error("日本"),
            "g:3:9: until: column 1: expected a condition, found '日' (conditions are batches, epochs, tokens, plateau, above, "
            "below)");
  EXPECT_EQ(until_error("batchs(3)"), "g:3:9: until: column 1: expected a condition, found 'batchs' (did you mean 'batches'?)");
  EXPECT_EQ(until_error("hours(3)"),
            "g:3:9: until: column 1: expected a condition, found 'hours' "
            "(conditions are batches, epochs, tokens, plateau, above, below)");
  EXPECT_EQ(until_error("batches"), "g:3:9: until: column 8: expected '(' after 'batches', found the end (batches(N))");
  EXPECT_EQ(until_error("batches()"), "g:3:9: until: column 9: expected an argument, found ')' (batches(N))");
  EXPECT_EQ(until_error("batches(3"), "g:3:9: until: column 10: expected ',' or ')', found the end (batches(N))");
  EXPECT_EQ(until_error("batches(3) batches(4)"), "g:3:9: until: column 12: expected 'and', 'or' or the end, found 'batches'");
  EXPECT_EQ(until_error("batches(3) or"),
            "g:3:9: until: column 14: expected a condition, found the end "
            "(conditions are batches, epochs, tokens, plateau, above, below)");
  EXPECT_EQ(until_error("(batches(3)"), "g:3:9: until: column 12: expected ')', found the end (the '(' of column 1 is open)");
  EXPECT_EQ(until_error("batches(0)"), "g:3:9: until: column 9: expected a positive integer, found '0'");
  EXPECT_EQ(until_error("batches(1.5)"), "g:3:9: until: column 9: expected a positive integer, found '1.5'");
  EXPECT_EQ(until_error("epochs(-1)"), "g:3:9: until: column 8: expected a positive number, found '-1'");
  EXPECT_EQ(until_error("plateau(reward, 20)"),
            "g:3:9: until: column 1: 'plateau' with 2 arguments "
            "(plateau(METRIC, WINDOW, EPSILON [, MIN_BATCHES]))");
  EXPECT_EQ(until_error("plateau(rewrd, 20, 0.1)"),
            "g:3:9: until: column 9: this stage has no metric 'rewrd' (did you mean 'reward'? it has reward, loss, accuracy)");
  EXPECT_EQ(until_error("above(reward, high)"), "g:3:9: until: column 15: expected a number, found 'high'");
}

}  // namespace
}  // namespace r1
