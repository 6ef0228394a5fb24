// Runs a graph's stages with the real roles and engines under the deterministic scheduler, in a directory of the test's own.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/held_out.h"
#include "actors/replay.h"
#include "actors/roles.h"
#include "actors/summary.h"
#include "actors/wire.h"
#include "runtime/flow/local_scheduler.h"
#include "runtime/store/run_store.h"
#include "tests/source_dir.h"

namespace r1 {

// Messages go through bytes where R1_MESSAGES=bytes: ctest runs all of these tests in both ways.
inline bool messages_as_bytes() {
  const char* messages = std::getenv("R1_MESSAGES");
  return messages != nullptr && std::string(messages) == "bytes";
}
inline LocalOptions local_options(bool as_bytes = messages_as_bytes()) {
  LocalOptions options;
  if (as_bytes) options.codec = &message_codec();
  return options;
}

inline std::filesystem::path nano_graph() { return source_dir() / "tests/e2e/graphs/nano.graph"; }

struct LocalRun {
  LocalRun(const std::filesystem::path& run_dir, const std::vector<std::string>& settings,
           const std::string& file = "nano.graph")
      : dir(run_dir) {
    const auto graph_dir = nano_graph().parent_path();
    std::vector<Override> overrides;
    for (const auto& s : settings) overrides.push_back(parse_override(s));
    graph = load_graph(graph_dir / file, role_registry(graph_dir), overrides);
    std::filesystem::create_directories(dir);
    store = RunStore::open(dir);
    env = make_run_env(graph, dir, graph_dir);
  }

  int64_t id(const std::string& stage) { return store->ensure_stage(stage); }
  bool done(const std::string& stage) {
    for (const StageRow& row : store->stages())
      if (row.name == stage && row.status == StageStatus::done) return true;
    return false;
  }

  // Runs one stage to its end, or for `max_steps` steps. Returns true when it is complete. The jobs of `slow_node` take far
  // longer than everything else, in virtual time.
  bool run_stage(const std::string& stage, uint64_t order, int64_t max_steps = 1'000'000, const std::string& slow_node = "") {
    LocalOptions options = local_options(as_bytes);
    options.seed = order;
    if (!slow_node.empty())
      options.job_ns = [slow_node](const std::string& node) { return node == slow_node ? 50'000'000 : 0; };
    const int64_t stage_id = id(stage);
    LocalScheduler scheduler(graph, stage, *store, role_factory(env), options);
    const auto& result = scheduler.run(max_steps);
    report = result.report;
    if (result.outcome == LocalScheduler::Outcome::running) return false;
    EXPECT_EQ(result.outcome, LocalScheduler::Outcome::finished) << stage << ": " << result.report;
    if (result.outcome != LocalScheduler::Outcome::finished) return false;
    store->complete_stage(stage_id, stage_summary(graph, *graph.stage(stage), *store, stage_id, {}, 1));
    return true;
  }

  // All stages in order; every one has to complete.
  void run_all(uint64_t order) {
    for (const StagePlan& stage : graph.stages) {
      if (done(stage.name)) continue;
      ASSERT_TRUE(run_stage(stage.name, order)) << stage.name;
    }
  }

  // What the stage's evaluators measured, as JSON; "" for nothing.
  std::string held_out(const std::string& stage, const std::string& moment) {
    const auto metrics = held_out_metrics_of(graph, *graph.stage(stage), *store, id(stage), moment);
    return metrics ? metrics->dump() : "";
  }

  std::map<std::string, std::string> hashes() {
    std::map<std::string, std::string> out;
    for (const StageRow& row : store->stages()) {
      if (const auto checkpoint = store->artifact(row.id, "checkpoint")) out[row.name] = checkpoint->second;
      if (const auto dataset = store->artifact(row.id, "dataset")) out[row.name] = dataset->second;
    }
    return out;
  }

  void expect_exact_ledgers() {
    for (const StageRow& row : store->stages()) EXPECT_EQ(store->check_ledger(row.id, false), "") << row.name;
  }

  std::filesystem::path dir;
  GraphView graph;
  std::unique_ptr<RunStore> store;
  RunEnv env;
  std::string report;
  bool as_bytes = messages_as_bytes();
};

struct StageTest : ::testing::Test {
  std::filesystem::path top =
      std::filesystem::temp_directory_path() /
      ("r1_stage_" + std::to_string(::getpid()) + "_" + ::testing::UnitTest::GetInstance()->current_test_info()->name());
  void SetUp() override {
    std::filesystem::remove_all(top);
    std::filesystem::create_directories(top);
  }
  void TearDown() override { std::filesystem::remove_all(top); }
};

}  // namespace r1
