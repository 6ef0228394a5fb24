// The conductor over LocalHosts: the same policy as over CAF actors, in one thread and virtual time.
#include "runtime/conductor/local_hosts.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "runtime/conductor/conductor.h"
#include "tests/runtime/fake_stage.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

struct Idle : Role {
  void start(RoleContext& context) override { context.wait_for("nothing", "for what never comes", ""); }
  void receive(RoleContext&, int, PayloadPtr) override {}
};

struct Ends : Role {
  void start(RoleContext& context) override { context.finish(); }
  void receive(RoleContext&, int, PayloadPtr) override {}
};

struct VirtualRun {
  explicit VirtualRun(uint64_t seed, const std::string& faults = "") : world({.seed = seed}) {
    graph = GraphBuilder()
                .stage("first")
                .node("source", "source")
                .node("relay", "relay")
                .node("sink", "sink")
                .edge("source", "relay", 3)
                .edge("relay", "sink", 2)
                .stage("second", {0})
                .node("idle", "idle")
                .build();
    store = RunStore::open(dir.path(), {&world.clock(), false});
    options.run_dir = dir.path();
    options.shell = false;
    options.faults = std::make_shared<FaultPlan>(faults);
  }

  ExitCode run(bool idles) {
    const RoleFactory factory = [idles](const GraphView&, const NodePlan& node) -> std::unique_ptr<Role> {
      if (node.role == "source") return std::make_unique<SourceRole>(10);
      if (node.role == "sink") return std::make_unique<SinkRole>(10);
      if (node.role == "relay") return std::make_unique<RelayRole>(10);
      if (idles) return std::make_unique<Idle>();
      return std::make_unique<Ends>();
    };
    ProgressSink sink;
    std::atomic<bool> interrupted{false};
    Conductor conductor(graph, *store, factory, {}, options, sink, std::make_shared<LocalHosts>(world, LocalLinks{}));
    const ExitCode code = conductor.run(interrupted);
    reason = conductor.failure_reason();
    return code;
  }

  TemporaryDirectory dir;
  GraphView graph;
  StepWorld world;
  std::unique_ptr<RunStore> store;
  RunOptions options;
  std::string reason;
};

TEST(LocalHosts, run_all_stages_of_a_graph_and_a_seed_takes_the_same_steps_again) {
  VirtualRun a(7), b(7), c(8);
  for (VirtualRun* run : {&a, &b, &c}) {
    EXPECT_EQ(run->run(false), ExitCode::done) << run->reason;
    for (const StageRow& row : run->store->stages()) EXPECT_EQ(row.status, StageStatus::done) << row.name;
  }
  EXPECT_EQ(a.world.steps(), b.world.steps());
  EXPECT_EQ(a.world.clock().now_ns(), b.world.clock().now_ns());
}

TEST(LocalHosts, a_stage_whose_message_is_lost_starts_again_and_says_which) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    VirtualRun run(seed, "drop:source->relay:3");
    EXPECT_EQ(run.run(false), ExitCode::done) << run.reason;
    const auto restarts = run.store->events(1, 10, "restart");
    ASSERT_EQ(restarts.size(), 1u);
    EXPECT_NE(restarts[0][2].find("message 3 (number 3) of source -> relay"), std::string::npos) << restarts[0][2];
  }
}

TEST(LocalHosts, a_stage_that_stands_still_is_found_when_its_time_is_over_in_virtual_time) {
  VirtualRun run(1);
  EXPECT_EQ(run.run(true), ExitCode::failed);
  EXPECT_NE(run.reason.find("idle"), std::string::npos) << run.reason;
  EXPECT_NE(run.reason.find("for what never comes"), std::string::npos) << run.reason;
  EXPECT_GT(run.world.clock().now_s(), run.options.stall_s);
}

}  // namespace
}  // namespace r1
