#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "runtime/shell/render.h"
#include "runtime/shell/shell_command.h"
#include "runtime/store/run_store.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

struct Shell : testing::Test {
  TemporaryDirectory dir;
  std::unique_ptr<RunStore> store = RunStore::open(dir.path());
  int64_t stage = store->ensure_stage("rl1");
  nlohmann::json ask(const std::string& line) {
    ShellSources sources;
    sources.store = store.get();
    return nlohmann::json::parse(handle_command(line, sources));
  }
};

TEST_F(Shell, shows_the_ledger_and_metrics_of_a_run_that_is_over) {
  for (int64_t d = 0; d < 3; ++d) store->add_draw(stage, d, d);
  store->drop_draw(stage, 1, "stale");
  store->commit_batch(stage, {0, false, "x", "", ""}, {{0, 0, ""}}, {});
  store->add_metric(stage, 0, "reward", 0.5);
  store->add_metric(stage, 1, "reward", 0.75);
  const auto row = ask("stages")["rows"][0];
  EXPECT_EQ(row["draws"], 3);
  EXPECT_EQ(row["trained"], 1);
  EXPECT_EQ(row["dropped"], 1);
  EXPECT_EQ(row["open"], 1);
  EXPECT_EQ(ask("metrics")["rows"][0]["value"], 0.75);
  EXPECT_EQ(ask("metrics rl1 reward")["rows"].size(), 2u);
}

TEST_F(Shell, answers_mistakes_with_what_was_meant) {
  store->add_metric(stage, 0, "reward", 0.5);
  EXPECT_EQ(ask("metric")["hint"], "did you mean 'metrics'?");
  EXPECT_EQ(ask("metrics rl2")["hint"], "did you mean rl1?");
  EXPECT_EQ(ask("metrics rl1 rewards")["hint"], "did you mean reward?");
  EXPECT_EQ(ask("ps now")["error"], "ps takes no arguments");
  EXPECT_EQ(ask("")["hint"], "try 'help'");
  EXPECT_EQ(ask("ps")["error"], "no run is going on here");
  EXPECT_TRUE(is_error_answer(ask("ps").dump()));
  EXPECT_FALSE(is_error_answer(ask("help").dump()));
}

TEST(Render, aligns_columns_and_puts_numbers_to_the_right) {
  const std::string json = R"({"title":"t","columns":["node","n","note"],"rows":[
      {"node":"rl1_policy","n":5,"note":"größer"},{"node":"x","n":1234,"note":null},{"node":"y","n":0.25,"note":"z"}]})";
  EXPECT_EQ(render_answer(json),
            "node           n  note\n"
            "rl1_policy     5  größer\n"
            "x           1234\n"
            "y           0.25  z\n");
  EXPECT_EQ(render_answer(json, 21),
            "node           n  not\n"
            "rl1_policy     5  grö\n"
            "x           1234\n"
            "y           0.25  z\n");
}

TEST(Render, shows_texts_errors_and_empty_tables) {
  EXPECT_EQ(render_answer(R"({"text":"stopping"})"), "stopping\n");
  EXPECT_EQ(render_answer(R"({"error":"no command 'x'","hint":"try 'help'"})"), "no command 'x' (try 'help')\n");
  EXPECT_EQ(render_answer(R"({"title":"waits","columns":["a"],"rows":[]})"), "waits: none\n");
}

}  // namespace
}  // namespace r1
