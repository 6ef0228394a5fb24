#include "tools/terminal/screen.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tools/terminal/summary_table.h"
#include "tools/terminal/text.h"

namespace r1::terminal {
namespace {

using Status = StageState::Status;

StageState running_stage() {
  StageState s;
  s.name = "rl1";
  s.label = "RL stage 1: reasoning";
  s.status = Status::running;
  s.seconds = 12;
  s.left_s = 17;
  s.step = 84;
  s.limit = 200;
  s.curve_name = "reward";
  for (int i = 0; i < 84; ++i) s.curve.push_back(0.4 + 0.005 * i);
  s.metrics = {{"accuracy", 0.71}, {"format", 0.98}, {"language", 0.97}};
  s.trainer_tokens_s = 23'100;
  s.generator_tokens_s = 14'200;
  s.age = 1;
  s.staleness = 1;
  s.dropped = 0.38;
  return s;
}

ScreenState screen(size_t before, size_t after) {
  ScreenState state;
  state.title = "r1_full  seed 0, bf16";
  state.seconds = 151;
  state.left_s = 100;
  for (size_t i = 0; i < before; ++i)
    state.stages.push_back({.name = "done" + std::to_string(i),
                            .status = Status::done,
                            .seconds = 44,
                            .result = "accuracy .000 > .191  format .000 > .225  language .1 > .205  helpful .1 > .2"});
  state.stages.push_back(running_stage());
  for (size_t i = 0; i < after; ++i)
    state.stages.push_back({.name = "later" + std::to_string(i), .label = "拒绝采样与监督微调"});
  return state;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

TEST(Screen, nothing_is_wider_or_higher_than_the_terminal) {
  for (const bool color : {false, true})
    for (const size_t width : {20, 40, 59, 79, 80, 100, 200})
      for (const size_t height : {4, 8, 12, 24, 60}) {
        const auto lines = draw_screen(screen(12, 9), width, height, color);
        EXPECT_LE(lines.size(), height);
        for (const std::string& line : lines) EXPECT_LE(width_of(line), width) << line;
      }
}

TEST(Screen, at_80_columns_everything_about_the_running_stage_is_there) {
  const std::string text = joined(draw_screen(screen(2, 2), 79, 24, false));
  for (const char* piece :
       {"rl1", "84/200", "0:17 left", "reward .815", "accuracy .710", "language .970", "trainer 23.1k tok/s",
        "generator 14.2k tok/s", "age 1.0 of 1", "dropped 38%", "2/5 stages", "~ 1:40 left", "█", "▁"})
    EXPECT_NE(text.find(piece), std::string::npos) << piece << " in\n" << text;
  EXPECT_EQ(text.find("\033"), std::string::npos);
}

TEST(Screen, a_low_terminal_shows_the_stages_around_the_running_one) {
  const auto lines = draw_screen(screen(12, 9), 79, 9, false);
  const std::string text = joined(lines);
  EXPECT_NE(text.find("rl1"), std::string::npos);
  EXPECT_NE(text.find("done11"), std::string::npos);
  EXPECT_NE(text.find("before"), std::string::npos);
  EXPECT_NE(text.find("after"), std::string::npos);
  EXPECT_EQ(text.find("done0 "), std::string::npos);
}

TEST(Screen, a_run_that_has_not_begun_and_one_that_is_over_are_drawn_too) {
  ScreenState state = screen(3, 0);
  state.stages.pop_back();
  EXPECT_EQ(draw_screen(state, 79, 24, false).size(), 4u);
  for (StageState& s : state.stages) s.status = Status::waiting;
  EXPECT_EQ(draw_screen(state, 79, 24, false).size(), 4u);
  EXPECT_EQ(draw_screen({}, 79, 24, false).size(), 1u);
}

TEST(Screen, a_plain_line_says_the_same_in_one_line) {
  const std::string line = progress_line(running_stage(), 92);
  EXPECT_LE(width_of(line), 92u);
  for (const char* piece : {"rl1", "84/200", "reward .815", "accuracy .710", "train 23.1k/s", "0:17 left"})
    EXPECT_NE(line.find(piece), std::string::npos) << piece << " in " << line;
}

TEST(SummaryTable, is_at_most_80_columns_wide_and_leaves_out_empty_columns) {
  nlohmann::json stage = {{"name", "a_stage_with_a_long_name"},
                          {"steps", 2000},
                          {"seconds", 145.3},
                          {"metrics",
                           {{"before", {{"accuracy", 0.381}}},
                            {"after",
                             {{"accuracy", 0.875},
                              {"accuracy_greedy", 0.9},
                              {"format", 0.997},
                              {"language", 1.0},
                              {"length", 25.53},
                              {"helpful", 0.65},
                              {"harmless", 0.99},
                              {"pair_accuracy", 0.85}}}}}};
  nlohmann::json summary = {{"seconds", 167.2}, {"machine", "2 cores, some CPU"}, {"stages", {stage}}};
  const auto check_width = [](const std::string& table) {
    for (size_t at = 0, end; (end = table.find('\n', at)) != std::string::npos; at = end + 1)
      EXPECT_LE(width_of(table.substr(at, end - at)), 80u) << table;
  };
  const std::string table = summary_table(summary.dump());
  check_width(table);
  for (const char* piece : {".381 > .875", ".997", "1.000", "25.5", ".650", ".990", ".850", "2000", "145", "2:47 on 2 cores"})
    EXPECT_NE(table.find(piece), std::string::npos) << piece << " in\n" << table;
  summary["stages"][0]["metrics"]["after"].erase("pair_accuracy");
  EXPECT_EQ(summary_table(summary.dump()).find("pairs"), std::string::npos);
}

TEST(SummaryTable, keeps_its_columns_apart_whatever_a_stage_took) {
  const nlohmann::json stage = {
      {"name", "s"}, {"steps", 1234567}, {"seconds", 98765.0}, {"metrics", {{"after", {{"length", 123456.0}}}}}};
  const std::string table =
      summary_table(nlohmann::json{{"seconds", 1.0}, {"machine", "some CPU"}, {"stages", {stage}}}.dump());
  EXPECT_NE(table.find(" 123456.0 1234567 98765\n"), std::string::npos) << table;
}

// The standing parts are about answers in tags: of a stage whose evaluators have an expression of their own they are no news.
TEST(SummaryTable, a_stage_measured_by_rewards_of_its_own_is_shown_by_them) {
  const auto table_of = [](const std::vector<std::string>& asked) {
    const nlohmann::json values = {{"accuracy", 0.123}, {"format", 0.456}, {"length", 30.5}, {"reward", 0.75}, {"math", 0.75}};
    const nlohmann::json stage = {{"name", "s"},
                                  {"steps", 1},
                                  {"seconds", 1.0},
                                  {"metrics", {{"before", values}, {"after", values}}},
                                  {"held_out_rewards", asked}};
    return summary_table(nlohmann::json{{"seconds", 1.0}, {"machine", "some CPU"}, {"stages", {stage}}}.dump());
  };
  const std::string math = table_of({"reward", "math"}), both = table_of({"reward", "math", "accuracy"}), none = table_of({});
  EXPECT_EQ(math.find(".123"), std::string::npos) << math;
  EXPECT_EQ(math.find(".456"), std::string::npos) << math;
  for (const char* piece : {".750 > 0.750", "30.5"}) EXPECT_NE(math.find(piece), std::string::npos) << math;
  EXPECT_NE(both.find(".123 > .123"), std::string::npos) << both;
  EXPECT_EQ(both.find(".456"), std::string::npos) << both;
  EXPECT_NE(none.find(".456"), std::string::npos) << none;
}

}  // namespace
}  // namespace r1::terminal
