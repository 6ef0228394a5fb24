// A tracker of a run, as users have them: programs that read lines, W&B and MLflow (their packages stood in for).
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/files.h"
#include "tests/e2e/program.h"

namespace r1 {
namespace {

using nlohmann::json;

struct TrackerRun : ProgramTest {
  // One stage of nano.graph: 12 batches, measured before and after.
  std::string graph() const {
    const std::filesystem::path models = source_dir() / "tests/e2e/graphs/nano.json";
    write_file_atomically(top / "g.graph",
                          "digraph g { graph [seed=5, precision=f32]; m [kind=model, config=\"" + models.string() +
                              "\", tokenizer=tiny];\n"
                              "subgraph cluster_base { corpus [role=prompter, source=\"tiny:pretrain\"];\n"
                              "t [role=trainer, objective=pretrain, batch=4, lr=\"1e-3\", until=\"batches(12)\"];\n"
                              "e [role=evaluator, source=\"tiny:reasoning_test\", problems=4, max_tokens=8];\n"
                              "corpus -> t; t -> e [carries=weights]; } m -> t; }");
    return (top / "g.graph").string();
  }
  ProgramResult tracked(const std::string& command, const std::vector<std::string>& environment = {}) const {
    return run_program({graph(), "--run", (top / "run").string(), "-q", "--set", "graph.tracker=" + command}, environment);
  }
  static std::vector<json> lines_of(const std::filesystem::path& file) {
    std::vector<json> out;
    std::istringstream in(std::filesystem::exists(file) ? read_file(file) : "");
    for (std::string line; std::getline(in, line);) out.push_back(json::parse(line));
    return out;
  }
};

TEST_F(TrackerRun, is_told_every_batch_what_was_measured_and_the_end) {
  const auto file = top / "told.jsonl";
  const ProgramResult r = tracked("command(sh -c 'cat > " + file.string() + "')");
  ASSERT_EQ(r.code, 0) << r.err;
  const auto lines = lines_of(file);
  ASSERT_EQ(lines.size(), 16u);
  EXPECT_EQ(lines[0].at("event"), "run");
  EXPECT_EQ(lines[0].at("stages"), json{"base"});
  EXPECT_EQ(lines[0].at("continued"), false);
  EXPECT_EQ(lines.back(), (json{{"event", "end"}, {"status", "done"}}));
  int64_t batches = 0, measured = 0;
  for (const json& line : lines) {
    if (line["event"] == "batch") {
      EXPECT_EQ(line.at("step"), batches++);
      EXPECT_GT(line.at("metrics").at("loss").get<double>(), 0);
    }
    measured += line["event"] == "held_out";
  }
  EXPECT_EQ(batches, 12);
  EXPECT_EQ(measured, 2);
}

TEST_F(TrackerRun, one_that_dies_or_is_deaf_is_a_warning_and_nothing_else) {
  const ProgramResult r = tracked("command(sh -c 'exit 7')");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(read_file(top / "run" / "r1.log").find("the tracker"), std::string::npos);
}

TEST_F(TrackerRun, one_that_there_is_not_is_refused_before_anything_starts) {
  const ProgramResult r = tracked("command(no-such-program)");
  EXPECT_EQ(r.code, 2);
  EXPECT_NE(r.err.find("no-such-program"), std::string::npos) << r.err;
  EXPECT_FALSE(std::filesystem::exists(top / "run"));
}

TEST_F(TrackerRun, wandb_gets_each_stage_with_steps_of_its_own) {
  const auto file = top / "calls";
  const ProgramResult r =
      tracked("command(python3 " + (source_dir() / "python/r1_wandb.py").string() + " --project p --offline)",
              {"PYTHONPATH=" + (source_dir() / "tests/e2e/trackers").string(), "PYTHONDONTWRITEBYTECODE=1",
               "R1_FAKE_TRACKER=" + file.string()});
  ASSERT_EQ(r.code, 0) << r.err;
  const auto calls = lines_of(file);
  ASSERT_EQ(calls.size(), 1u + 2 + 14 + 2) << read_file(top / "run" / "r1.log");
  EXPECT_EQ(calls[0][0], "init");
  EXPECT_EQ(calls[0][2].at("project"), "p");
  EXPECT_EQ(calls[0][2].at("mode"), "offline");
  EXPECT_EQ(calls[0][2].at("name"), "run");
  EXPECT_EQ(calls[2], (json{"define_metric", {"base/*"}, {{"step_metric", "base/step"}}}));
  int64_t steps = 0;
  for (const json& call : calls)
    if (call[0] == "log" && call[1][0].contains("base/loss")) {
      EXPECT_EQ(call[1][0].at("base/step"), steps++);
    }
  EXPECT_EQ(steps, 12);
  EXPECT_EQ(calls.back()[0], "finish");
}

TEST_F(TrackerRun, mlflow_gets_metrics_at_their_steps_and_the_status) {
  const auto file = top / "calls";
  const ProgramResult r = tracked("command(python3 " + (source_dir() / "python/r1_mlflow.py").string() + ")",
                                  {"PYTHONPATH=" + (source_dir() / "tests/e2e/trackers").string(), "PYTHONDONTWRITEBYTECODE=1",
                                   "R1_FAKE_TRACKER=" + file.string()});
  ASSERT_EQ(r.code, 0) << r.err;
  const auto calls = lines_of(file);
  ASSERT_FALSE(calls.empty()) << read_file(top / "run" / "r1.log");
  EXPECT_EQ(calls[0], (json{"set_experiment", {"r1"}, json::object()}));
  int64_t steps = 0;
  for (const json& call : calls)
    if (call[0] == "log_metrics" && call[1][0].contains("base/loss")) {
      EXPECT_EQ(call[2].at("step"), steps++);
    }
  EXPECT_EQ(steps, 12);
  EXPECT_EQ(calls.back(), (json{"end_run", json::array(), {{"status", "FINISHED"}}}));
}

}  // namespace
}  // namespace r1
