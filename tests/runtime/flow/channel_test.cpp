// Channels, jobs and waits of RoleHost under the LocalScheduler: whatever the order of steps, no capacity is exceeded, nothing
// is lost or doubled, and all roles finish.
#include <gtest/gtest.h>

#include <numeric>

#include "runtime/flow/local_scheduler.h"
#include "runtime/flow/what_of.h"
#include "tests/runtime/fake_stage.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

using Outcome = LocalScheduler::Outcome;

// source -> a -> sink and source -> b -> sink, with small capacities.
GraphView diamond() {
  return GraphBuilder()
      .stage("s")
      .node("source", "source")
      .node("a", "relay")
      .node("b", "io_relay")
      .node("sink", "sink")
      .edge("source", "a", 3)
      .edge("source", "b", 2)
      .edge("a", "sink", 1)
      .edge("b", "sink", 4)
      .build();
}

RoleFactory numbers_factory(int64_t count, int64_t taken) {
  return [=](const GraphView&, const NodePlan& node) -> std::unique_ptr<Role> {
    if (node.role == "source") return std::make_unique<SourceRole>(count);
    if (node.role == "sink") return std::make_unique<SinkRole>(taken);
    return std::make_unique<RelayRole>(count, node.role == "io_relay");
  };
}

// A role made of functions.
class Scripted : public Role {
 public:
  std::function<void(RoleContext&)> on_start, on_end;
  std::function<void(RoleContext&, int, PayloadPtr)> on_message;
  void start(RoleContext& c) override {
    if (on_start) on_start(c);
  }
  void receive(RoleContext& c, int edge, PayloadPtr p) override {
    if (on_message) on_message(c, edge, std::move(p));
  }
  void on_stage_end(RoleContext& c) override {
    if (on_end) on_end(c);
  }
};

struct Flow : testing::Test {
  TemporaryDirectory dir;
  std::unique_ptr<RunStore> store = RunStore::open(dir.path());
};

// Links of a stage of numbers that lose or repeat what `fault` says.
struct FaultyLinks : Flow {
  // "" when the stage finished, else the first failure, or "stands still", or "no end".
  std::string run(uint64_t seed, std::function<Delivery(int to, const Envelope&)> fault,
                  const RoleFactory& factory = numbers_factory(20, 40)) {
    const GraphView graph = diamond();
    StepWorld world({.seed = seed});
    WaitRegistry waits(world.clock());
    EngineTimes times(world.clock());
    FaultPlan faults("");
    HostServices services;
    services.graph = &graph;
    services.stage = graph.stage("s");
    services.stage_id = store->ensure_stage("s");
    services.store = store.get();
    services.waits = &waits;
    services.times = &times;
    services.clock = &world.clock();
    services.faults = &faults;
    LocalLinks links;
    links.deliver = [&](const StagePlan&, int to, const Envelope& e) { return fault(to, e); };
    LocalStage stage(world, services, factory, links);
    for (int steps = 0; !stage.all_finished() && !stage.failure(); ++steps) {
      if (!world.step()) return "stands still";
      if (steps == 100000) return "no end";
    }
    return stage.failure() ? what_of(stage.failure()->error) : "";
  }
};

TEST_F(FaultyLinks, a_credit_that_is_lost_or_comes_twice_is_made_good_by_the_next) {
  for (uint64_t seed = 1; seed <= 30; ++seed)
    for (const Delivery what : {Delivery::lost, Delivery::twice}) {
      int64_t credits = 0;
      // All but every third credit of the edge with room for four messages.
      const std::string end = run(seed, [&](int to, const Envelope& e) {
        return e.kind == Envelope::Kind::credit && e.edge == 3 && to == 2 && ++credits % 3 != 0 ? what : Delivery::once;
      });
      EXPECT_EQ(end, "") << seed;
      EXPECT_GT(credits, 5);
    }
}

TEST_F(FaultyLinks, a_message_that_comes_twice_or_not_at_all_is_named) {
  for (uint64_t seed = 1; seed <= 10; ++seed)
    for (const Delivery what : {Delivery::lost, Delivery::twice}) {
      const std::string end = run(seed, [&](int, const Envelope& e) {
        return e.kind == Envelope::Kind::payload && e.edge == 2 && e.number == 5 ? what : Delivery::once;
      });
      EXPECT_TRUE(end == "stands still" || end.find("a -> sink") != end.npos) << end;
    }
}

// Gives numbers until it hears that the stage ends.
struct EndlessSource final : SourceRole {
  EndlessSource() : SourceRole(int64_t{1} << 40) {}
  void on_stage_end(RoleContext& c) override { c.finish(); }
};

TEST_F(FaultyLinks, a_role_that_missed_the_end_of_the_stage_learns_it_from_its_neighbours) {
  const RoleFactory until_ten = [](const GraphView&, const NodePlan& node) -> std::unique_ptr<Role> {
    if (node.role == "source") return std::make_unique<EndlessSource>();
    auto role = std::make_unique<Scripted>();
    role->on_end = [](RoleContext& c) { c.finish(); };
    if (node.role == "sink") {
      role->on_message = [taken = 0](RoleContext& c, int edge, const PayloadPtr&) mutable {
        c.release(edge, 1);
        if (++taken == 10) dynamic_cast<StageControl&>(c).end_stage();
      };
    } else {
      role->on_message = [](RoleContext& c, int edge, PayloadPtr p) {
        const int out = c.outputs("numbers").at(0);
        c.release(edge, 1);
        if (c.room(out) > 0) c.send(out, std::move(p));
      };
    }
    return role;
  };
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    int lost = 0;
    const std::string end = run(
        seed,
        [&](int to, const Envelope& e) {
          if (e.kind != Envelope::Kind::stage_end || to != 0) return Delivery::once;
          ++lost;
          return Delivery::lost;
        },
        until_ten);
    EXPECT_EQ(end, "") << seed;
    EXPECT_EQ(lost, 1) << "the source was told";
  }
}

TEST_F(Flow, in_any_order_capacities_hold_and_nothing_is_lost_or_doubled) {
  const GraphView graph = diamond();
  std::vector<int64_t> expected(40);
  std::iota(expected.begin(), expected.end(), 1);
  for (uint64_t seed = 0; seed < 150; ++seed) {
    LocalScheduler* running = nullptr;
    LocalOptions options{.seed = seed, .random_order = seed > 0};
    if (seed % 2) options.job_ns = [](const std::string& node) { return node == "a" ? 5'000'000 : 20'000; };
    options.after_step = [&] {
      for (const ChannelRow& row : running->waits().channels()) {
        ASSERT_LE(row.sent - row.released, row.capacity) << row.edge << " seed " << seed;
        ASSERT_LE(row.released, row.received) << row.edge << " seed " << seed;
      }
    };
    LocalScheduler stage(graph, "s", *store, numbers_factory(40, 80), options);
    running = &stage;
    ASSERT_EQ(stage.run().outcome, Outcome::finished) << "seed " << seed << "\n" << stage.result().report;
    const auto& got = dynamic_cast<SinkRole&>(stage.role("sink")).got;
    ASSERT_EQ(got.size(), 2u);
    for (const auto& [edge, numbers] : got) ASSERT_EQ(numbers, expected) << "seed " << seed;
    for (const WaitRow& wait : stage.waits().waits())
      ADD_FAILURE() << "a wait outlived the stage: " << wait.owner << " " << wait.key;
  }
}

TEST_F(Flow, the_seed_fixes_the_order) {
  const GraphView graph = diamond();
  const auto steps = [&](uint64_t seed) {
    std::string trace;
    LocalScheduler* running = nullptr;
    LocalOptions options{.seed = seed};
    options.after_step = [&] {
      for (const ChannelRow& row : running->waits().channels())
        trace += std::to_string(row.sent) + "," + std::to_string(row.received) + ";";
    };
    LocalScheduler stage(graph, "s", *store, numbers_factory(10, 20), options);
    running = &stage;
    stage.run();
    return trace;
  };
  EXPECT_EQ(steps(7), steps(7));
  EXPECT_NE(steps(7), steps(8));
}

TEST_F(Flow, whichever_message_is_dropped_the_report_names_it) {
  const GraphView graph = diamond();
  for (const EdgePlan& edge : graph.edges)
    for (const int number : {1, 5, 12}) {
      const std::string name = graph.edge_name(edge);
      LocalOptions options{.seed = static_cast<uint64_t>(number)};
      options.faults = "drop:" + name + ":" + std::to_string(number);
      LocalScheduler stage(graph, "s", *store, numbers_factory(12, 24), options);
      const auto& result = stage.run();
      EXPECT_TRUE(result.outcome == Outcome::stalled || result.outcome == Outcome::failed) << options.faults;
      const std::string lost = "message " + std::to_string(number) + " (number " + std::to_string(number) + ") of " + name;
      EXPECT_NE(result.report.find(lost), std::string::npos) << options.faults << "\n" << result.report;
    }
}

// A number that is not the next one is refused as it arrives: nobody works on what came after the loss.
TEST_F(Flow, a_gap_in_the_numbers_of_a_channel_fails_the_receiver_with_the_lost_message) {
  const GraphView graph = diamond();
  const auto run = [&](const std::vector<int64_t>& numbers, std::vector<int64_t>& seen) {
    const RoleFactory factory = [&](const GraphView&, const NodePlan& node) -> std::unique_ptr<Role> {
      auto role = std::make_unique<Scripted>();
      if (node.id == "a") role->on_message = [&](RoleContext&, int, PayloadPtr p) { seen.push_back(number_of(p)); };
      return role;
    };
    LocalScheduler stage(graph, "s", *store, factory);
    for (const int64_t n : numbers) stage.post(0, 1, {Envelope::Kind::payload, 0, n, std::make_shared<Number>(n)});
    return stage.run();
  };
  for (const auto& [numbers, lost] : std::vector<std::pair<std::vector<int64_t>, std::string>>{
           {{2}, "message 1 of source -> a was lost: message 2 (number 2) arrived after 0"},
           {{1, 2, 4, 5}, "message 3 of source -> a was lost: message 4 (number 4) arrived after 2"},
           {{1, 2, 2}, "message 3 of source -> a was lost: message 2 (number 2) arrived after 2"}}) {
    std::vector<int64_t> seen;
    const auto result = run(numbers, seen);
    EXPECT_EQ(result.outcome, Outcome::failed) << lost;
    EXPECT_EQ(result.report, "a: " + lost);
    EXPECT_LE(seen.size(), 2u) << lost;
  }
  std::vector<int64_t> seen;
  EXPECT_NE(run({1, 2, 3}, seen).outcome, Outcome::failed);
  EXPECT_EQ(seen, (std::vector<int64_t>{1, 2, 3}));
}

TEST_F(Flow, a_receiver_that_releases_nothing_stalls_the_chain_and_the_report_says_who_waits_for_whom) {
  const GraphView graph = GraphBuilder()
                              .stage("s")
                              .node("source", "source")
                              .node("a", "relay")
                              .node("keeper", "keeper")
                              .edge("source", "a", 2)
                              .edge("a", "keeper", 2)
                              .build();
  const RoleFactory factory = [](const GraphView&, const NodePlan& node) -> std::unique_ptr<Role> {
    if (node.role == "source") return std::make_unique<SourceRole>(20);
    if (node.role == "relay") return std::make_unique<RelayRole>(20);
    auto keeper = std::make_unique<Scripted>();
    keeper->on_start = [](RoleContext& c) { c.wait_for("mood", "for better times", ""); };
    return keeper;
  };
  LocalScheduler stage(graph, "s", *store, factory);
  EXPECT_EQ(stage.run().outcome, Outcome::stalled);
  const std::string& report = stage.result().report;
  EXPECT_NE(report.find("chain: source waits for a waits for keeper"), std::string::npos) << report;
  EXPECT_NE(report.find("keeper: wait 'mood', for better times"), std::string::npos) << report;
  EXPECT_EQ(report.find("lost"), std::string::npos) << report;
}

TEST_F(Flow, an_edge_that_carries_weights_keeps_the_newest_and_never_fills) {
  const GraphView graph =
      GraphBuilder().stage("s").node("trainer", "t").node("policy", "p").edge("trainer", "policy", 0, "weights").build();
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<int64_t> seen;
    const RoleFactory factory = [&](const GraphView&, const NodePlan& node) -> std::unique_ptr<Role> {
      auto role = std::make_unique<Scripted>();
      if (node.role == "t")
        role->on_start = [](RoleContext& c) {
          const int edge = c.outputs("weights").at(0);
          for (int v = 1; v <= 100; ++v) {
            ASSERT_GT(c.room(edge), 0);
            c.send(edge, std::make_shared<Number>(v));
          }
          c.finish();
        };
      else
        role->on_message = [&](RoleContext& c, int, PayloadPtr p) {
          seen.push_back(number_of(p));
          if (seen.back() == 100) c.finish();
        };
      return role;
    };
    LocalScheduler stage(graph, "s", *store, factory, {.seed = seed});
    EXPECT_EQ(stage.run().outcome, Outcome::finished) << stage.result().report;
    EXPECT_EQ(seen, (std::vector<int64_t>{1, 100}));
  }
}

TEST_F(Flow, a_job_that_throws_fails_its_role_by_name) {
  const GraphView graph = diamond();
  LocalScheduler stage(graph, "s", *store, numbers_factory(10, 20), {.faults = "fail:a:3"});
  EXPECT_EQ(stage.run().outcome, Outcome::failed);
  EXPECT_EQ(stage.result().report, "a: injected fault: job 3 of a");
}

TEST_F(Flow, the_end_of_the_stage_reaches_every_role_once_the_caller_included) {
  const GraphView graph = GraphBuilder().stage("s").node("x", "x").node("y", "y").node("z", "z").build();
  std::vector<std::string> ended;
  const RoleFactory factory = [&](const GraphView&, const NodePlan& node) -> std::unique_ptr<Role> {
    auto role = std::make_unique<Scripted>();
    role->on_end = [&](RoleContext& c) {
      ended.push_back(c.node().id);
      c.finish();
    };
    if (node.id != "x") role->on_start = [](RoleContext& c) { dynamic_cast<StageControl&>(c).end_stage(); };
    return role;
  };
  LocalScheduler stage(graph, "s", *store, factory, {.seed = 3});
  EXPECT_EQ(stage.run().outcome, Outcome::finished) << stage.result().report;
  std::sort(ended.begin(), ended.end());
  EXPECT_EQ(ended, (std::vector<std::string>{"x", "y", "z"}));
}

TEST_F(Flow, a_role_that_finished_lets_its_sender_go_on) {
  const GraphView graph =
      GraphBuilder().stage("s").node("source", "source").node("tired", "t").edge("source", "tired", 2).build();
  const RoleFactory factory = [](const GraphView&, const NodePlan& node) -> std::unique_ptr<Role> {
    if (node.role == "source") return std::make_unique<SourceRole>(50);
    auto role = std::make_unique<Scripted>();
    role->on_message = [](RoleContext& c, int edge, PayloadPtr payload) {
      if (number_of(payload) == 2) c.finish();  // holds two messages: the channel is full
      if (number_of(payload) == 2) c.release(edge, 2);
    };
    return role;
  };
  LocalScheduler stage(graph, "s", *store, factory);
  EXPECT_EQ(stage.run().outcome, Outcome::finished) << stage.result().report;
}

TEST_F(Flow, a_role_is_finished_only_when_its_jobs_are) {
  const GraphView graph = GraphBuilder().stage("s").node("x", "x").build();
  bool saved = false;
  const RoleFactory factory = [&](const GraphView&, const NodePlan&) -> std::unique_ptr<Role> {
    auto role = std::make_unique<Scripted>();
    role->on_start = [&](RoleContext& c) {
      c.submit(
          "save", "", [] {}, [&] { saved = true; });
      c.finish();
    };
    return role;
  };
  LocalScheduler stage(graph, "s", *store, factory);
  EXPECT_EQ(stage.run().outcome, Outcome::finished);
  EXPECT_TRUE(saved);
}

using FlowDeathTest = Flow;

TEST_F(FlowDeathTest, sending_into_a_full_channel_is_a_broken_invariant) {
  store.reset();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const GraphView graph = GraphBuilder().stage("s").node("x", "x").node("y", "y").edge("x", "y", 2).build();
  const RoleFactory factory = [](const GraphView&, const NodePlan& node) -> std::unique_ptr<Role> {
    auto role = std::make_unique<Scripted>();
    if (node.id == "x")
      role->on_start = [](RoleContext& c) {
        for (int i = 0; i < 3; ++i) c.send(c.outputs("numbers").at(0), std::make_shared<Number>(i));
      };
    return role;
  };
  EXPECT_DEATH(
      {
        auto own = RunStore::open(dir.path());
        LocalScheduler(graph, "s", *own, factory).run();
      },
      "x -> y is full: 2 of 2");
}

}  // namespace
}  // namespace r1
