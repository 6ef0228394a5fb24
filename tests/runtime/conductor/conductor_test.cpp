// The conductor with fake roles, under real CAF and real threads; deadlines are milliseconds.
#include "base/stop.h"
#include "runtime/conductor/conductor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "runtime/shell/shell_client.h"
#include "tests/runtime/fake_stage.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

// Commits `count` batches of one draw each, continuing where the store stands, then ends the stage. With `lazy`: commits
// nothing more and waits once `lazy` batches are stored.
class CommitRole : public Role {
 public:
  CommitRole(int64_t count, int64_t lazy) : count_(count), lazy_(lazy) {}
  bool recalls() const override { return true; }
  void start(RoleContext& context) override {
    version_ = context.recovered().batches;
    next(context);
  }
  void receive(RoleContext&, int, PayloadPtr) override {}
  void on_stage_end(RoleContext& context) override { context.finish(); }
  std::string inspect() const override { return "{\"count\":" + std::to_string(count_) + "}"; }

 private:
  void next(RoleContext& context) {
    const int64_t version = version_;
    context.progress("batch " + std::to_string(version));
    if (version == count_) return dynamic_cast<StageControl&>(context).end_stage();
    if (lazy_ >= 0 && version >= lazy_) return context.wait_for("mood", "for better times", "");
    context.submit_io(
        "commit batch " + std::to_string(version),
        [&context, version] {
          context.records().draw(version, version);
          context.journal().commit({version, false, "x", "", ""}, {{version, version, ""}}, {});
        },
        [this, &context] {
          ++version_;
          context.submit(
              "work", "trainer", [] {}, [this, &context] { next(context); });
        });
  }
  int64_t count_, lazy_, version_ = 0;
};

struct Sink : ProgressSink {
  std::vector<std::string> log;
  void stage_started(const std::string& stage, bool continued) override {
    log.push_back((continued ? "continue " : "start ") + stage);
  }
  void stage_done(const std::string& stage, const std::string& summary, const StageVerdict& verdict) override {
    log.push_back((verdict.failed() ? "failed " : "done ") + stage + " " + summary);
  }
};

struct Conducting : testing::Test {
  TemporaryDirectory dir;
  std::unique_ptr<RunStore> store = RunStore::open(dir.path());
  Sink sink;
  RunOptions options;
  StageHooks hooks;
  std::atomic<bool> interrupted{false};
  std::string reason;
  int64_t lazy = -1;  // commit roles stop there
  int64_t count = 12;

  Conducting() {
    options.run_dir = dir.path();
    options.tick_s = 0.002;
    options.shell = false;
    options.faults = std::make_shared<FaultPlan>("");
    hooks.summary = [](const GraphView&, const StagePlan& stage, const StageTimes&) {
      return "{\"name\":\"" + stage.name + "\"}";
    };
  }

  std::unique_ptr<Role> make(const NodePlan& node) {
    if (node.role == "source") return std::make_unique<SourceRole>(count);
    if (node.role == "relay") return std::make_unique<RelayRole>(count);
    if (node.role == "sink") return std::make_unique<SinkRole>(count);
    if (node.role == "commit") return std::make_unique<CommitRole>(5, lazy);
    throw bad_input("no role " + node.role);
  }

  ExitCode run(const GraphView& graph) {
    Conductor conductor(
        graph, *store, [this](const GraphView&, const NodePlan& node) { return make(node); }, hooks, options, sink,
        make_caf_hosts());
    const ExitCode code = conductor.run(interrupted);
    reason = conductor.failure_reason();
    return code;
  }

  static GraphView chain() {
    return GraphBuilder()
        .stage("s")
        .node("source", "source")
        .node("relay", "relay")
        .node("sink", "sink")
        .edge("source", "relay", 3)
        .edge("relay", "sink", 2)
        .build();
  }
  static bool says(const std::vector<std::string>& texts, const std::string& what) {
    return std::any_of(texts.begin(), texts.end(),
                       [&](const std::string& text) { return text.find(what) != std::string::npos; });
  }
  std::vector<std::string> events(const std::string& kind) {
    std::vector<std::string> found;
    for (const auto& row : store->events(1, 100, kind)) found.push_back(row[2]);
    return found;
  }
};

TEST_F(Conducting, stages_run_after_those_they_depend_on_and_are_completed) {
  const GraphView graph = GraphBuilder()
                              .stage("a")
                              .node("a_source", "source")
                              .node("a_sink", "sink")
                              .edge("a_source", "a_sink", 2)
                              .stage("b", {0})
                              .node("b_commit", "commit")
                              .stage("c", {1})
                              .node("c_commit", "commit")
                              .build();
  int stored = 0;
  hooks.times_stored = [&] { ++stored; };
  EXPECT_EQ(run(graph), ExitCode::done) << reason;
  EXPECT_GE(stored, 3) << "at least at the end of each stage";
  EXPECT_EQ(sink.log, (std::vector<std::string>{"start a", "done a {\"name\":\"a\"}", "start b", "done b {\"name\":\"b\"}",
                                                "start c", "done c {\"name\":\"c\"}"}));
  for (const StageRow& row : store->stages()) {
    EXPECT_EQ(row.status, StageStatus::done);
    EXPECT_EQ(row.summary_json, "{\"name\":\"" + row.name + "\"}");
    EXPECT_EQ(store->check_ledger(row.id, false), "");
    EXPECT_GT(StageTimes::of(*store, row).seconds, 0);
  }
  EXPECT_GT(StageTimes::of(*store, store->stages()[1]).engine_s.count("trainer"), 0u);
}

TEST_F(Conducting, done_stages_are_not_run_again) {
  const GraphView graph =
      GraphBuilder().stage("a").node("a_commit", "commit").stage("b", {0}).node("b_commit", "commit").build();
  store->complete_stage(store->ensure_stage("a"), "{}");
  EXPECT_EQ(run(graph), ExitCode::done);
  EXPECT_EQ(sink.log, (std::vector<std::string>{"start b", "done b {\"name\":\"b\"}"}));
  EXPECT_EQ(run(graph), ExitCode::done);
  EXPECT_EQ(sink.log.size(), 2u);
}

TEST_F(Conducting, a_stage_that_learned_nothing_fails_and_only_what_needs_it_is_left_out) {
  const GraphView graph = GraphBuilder()
                              .stage("a")
                              .node("a_commit", "commit")
                              .stage("b", {0})
                              .node("b_commit", "commit")
                              .stage("c")
                              .node("c_commit", "commit")
                              .build();
  hooks.verdict = [](const GraphView&, const StagePlan& stage) {
    return StageVerdict{stage.name == "a" ? StageVerdict::Level::failed : StageVerdict::Level::fine,
                        "learned by " + stage.name};
  };
  const std::string said = "stage a failed: learned by a; not started, because they need what failed: b";
  EXPECT_EQ(run(graph), ExitCode::failed);
  EXPECT_EQ(reason, said);
  EXPECT_EQ(sink.log, (std::vector<std::string>{"start a", "failed a {\"name\":\"a\"}", "start c", "done c {\"name\":\"c\"}"}));
  EXPECT_EQ(store->stages()[0].status, StageStatus::failed);
  EXPECT_EQ(store->stages()[0].verdict, "learned by a");
  EXPECT_EQ(store->stages()[1].status, StageStatus::waiting);
  EXPECT_EQ(store->stages()[2].verdict, "learned by c");
  // Again: the same words, and nothing is started.
  EXPECT_EQ(run(graph), ExitCode::failed);
  EXPECT_EQ(reason, said);
  EXPECT_EQ(sink.log.size(), 4u);
}

TEST_F(Conducting, independent_stages_run_at_the_same_time_when_allowed) {
  // Either stage's before hook only starts; its role waits until both stages are under way.
  std::atomic<int> started{0};
  struct Meet : Role {
    std::atomic<int>& started;
    explicit Meet(std::atomic<int>& s) : started(s) {}
    void start(RoleContext& c) override {
      ++started;
      look(c);
    }
    void look(RoleContext& c) {
      if (started == 2) return c.finish();
      c.submit(
          "look", "", [] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }, [this, &c] { look(c); });
    }
    void receive(RoleContext&, int, PayloadPtr) override {}
  };
  const GraphView graph = GraphBuilder().stage("a").node("x", "meet").stage("b").node("y", "meet").build();
  options.max_parallel_stages = 2;
  Conductor conductor(
      graph, *store, [&](const GraphView&, const NodePlan&) { return std::make_unique<Meet>(started); }, hooks, options, sink,
      make_caf_hosts());
  EXPECT_EQ(conductor.run(interrupted), ExitCode::done);
}

TEST_F(Conducting, a_failed_stage_starts_again_from_the_store) {
  options.faults = std::make_shared<FaultPlan>("fail:commit:4,fail:commit:3");
  const GraphView graph = GraphBuilder().stage("s").node("commit", "commit").build();
  options.max_restarts = 1;
  EXPECT_EQ(run(graph), ExitCode::done) << reason;
  EXPECT_EQ(store->batch_count(1), 5);
  EXPECT_EQ(store->check_ledger(1, false), "");
  ASSERT_EQ(events("restart").size(), 2u);  // a batch was committed in between, so the second counts as a first
  EXPECT_NE(events("restart")[0].find("injected fault: job 3 of commit"), std::string::npos) << events("restart")[0];
}

TEST_F(Conducting, the_same_failure_at_the_same_place_is_not_tried_a_third_time) {
  struct Broken : Role {
    void start(RoleContext& c) override {
      c.submit("train", "trainer", [] { throw failure("out of memory"); }, {});
    }
    void receive(RoleContext&, int, PayloadPtr) override {}
  };
  const GraphView graph = GraphBuilder().stage("s").node("x", "broken").build();
  Conductor conductor(
      graph, *store, [&](const GraphView&, const NodePlan&) { return std::make_unique<Broken>(); }, hooks, options, sink,
      make_caf_hosts());
  EXPECT_EQ(conductor.run(interrupted), ExitCode::failed);
  EXPECT_EQ(conductor.failure_reason(),
            "stage s failed twice in the same way after 0 batches and is not tried again: x: out of memory");
  EXPECT_EQ(conductor.again(), Conductor::Again::meets_the_cause);
  ASSERT_EQ(conductor.failures().size(), 1u);
  EXPECT_EQ(conductor.failures()[0].stage, "s");
  EXPECT_EQ(events("restart").size(), 1u);
}

TEST_F(Conducting, a_stage_that_keeps_failing_ends_the_run_with_the_reason) {
  struct Broken : Role {
    int& times;
    explicit Broken(int& t) : times(t) {}
    void start(RoleContext& c) override {
      c.submit("train", "trainer", [this] { throw failure("out of memory, time " + std::to_string(++times)); }, {});
    }
    void receive(RoleContext&, int, PayloadPtr) override {}
  };
  int times = 0;
  const GraphView graph = GraphBuilder().stage("s").node("x", "broken").build();
  Conductor conductor(
      graph, *store, [&](const GraphView&, const NodePlan&) { return std::make_unique<Broken>(times); }, hooks, options, sink,
      make_caf_hosts());
  EXPECT_EQ(conductor.run(interrupted), ExitCode::failed);
  EXPECT_EQ(conductor.failure_reason(), "stage s failed 4 times without a new batch; the last time: x: out of memory, time 4");
  EXPECT_EQ(conductor.again(), Conductor::Again::goes_on);
  EXPECT_EQ(store->stages()[0].status, StageStatus::running);
}

TEST_F(Conducting, bad_input_ends_the_run_at_once) {
  const GraphView graph = GraphBuilder().stage("s").node("x", "nonsense").build();
  EXPECT_EQ(run(graph), ExitCode::bad_input);
  EXPECT_EQ(reason, "no role nonsense");
  EXPECT_EQ(events("restart").size(), 0u);
}

TEST_F(Conducting, a_hook_that_throws_ends_the_run) {
  hooks.before = [](const GraphView&, const StagePlan&) { throw bad_input("no such checkpoint"); };
  const GraphView graph = GraphBuilder().stage("s").node("commit", "commit").build();
  EXPECT_EQ(run(graph), ExitCode::bad_input);
  EXPECT_EQ(reason, "stage s: no such checkpoint");
}

TEST_F(Conducting, a_stall_is_reported_and_the_stage_started_again) {
  lazy = 2;
  options.stall_s = 0.05;
  options.max_restarts = 1;
  const GraphView graph = GraphBuilder().stage("s").node("commit", "commit").build();
  EXPECT_EQ(run(graph), ExitCode::failed);
  EXPECT_NE(reason.find("stands still"), std::string::npos) << reason;
  EXPECT_TRUE(says(events("stall"), "commit: wait 'mood', for better times"));
  lazy = -1;
  options.stall_s = 60;
  EXPECT_EQ(run(graph), ExitCode::done) << reason;
  EXPECT_EQ(sink.log[1], "continue s");
}

TEST_F(Conducting, a_lost_message_is_named_and_survived) {
  for (const char* fault : {"drop:source->relay:5", "drop:relay->sink:12"}) {
    store.reset();
    for (const char* file : {"run.db", "run.mark"}) std::filesystem::remove(dir.path() / file);
    store = RunStore::open(dir.path());
    options.faults = std::make_shared<FaultPlan>(fault);
    options.stall_s = 0.05;
    options.max_restarts = 1000;  // a busy machine may seem to stand still for so long
    const GraphView graph = chain();
    EXPECT_EQ(run(graph), ExitCode::done) << reason;
    const std::string number = std::string(fault).substr(std::string(fault).rfind(':') + 1);
    EXPECT_TRUE(says(events("restart"), "message " + number + " (number " + number + ") of ")) << fault;
  }
}

using ConductingDeathTest = Conducting;

TEST_F(ConductingDeathTest, a_job_that_never_ends_is_named_and_ends_the_process) {
  store.reset();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  struct Stuck : Role {
    void start(RoleContext& c) override {
      c.submit("think", "trainer", [] { std::this_thread::sleep_for(std::chrono::hours(1)); }, {});
    }
    void receive(RoleContext&, int, PayloadPtr) override {}
  };
  options.stall_s = 0.02;
  options.job_stall_s = 0.05;
  const GraphView graph = GraphBuilder().stage("s").node("x", "stuck").build();
  EXPECT_EXIT(
      {
        store = RunStore::open(dir.path());
        Conductor(
            graph, *store, [](const GraphView&, const NodePlan&) { return std::make_unique<Stuck>(); }, hooks, options, sink,
            make_caf_hosts())
            .run(interrupted);
      },
      testing::ExitedWithCode(1), "job think of x did not end within");
}

TEST_F(ConductingDeathTest, a_hook_that_hangs_is_named_and_ends_the_process) {
  store.reset();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  options.job_stall_s = 2;  // also what roles get to end, on a busy machine
  options.stall_s = 0.5;
  options.stop_s = 0.05;
  hooks.summary = [](const GraphView&, const StagePlan&, const StageTimes&) {
    std::this_thread::sleep_for(std::chrono::hours(1));
    return std::string();
  };
  const GraphView graph = GraphBuilder().stage("s").node("commit", "commit").build();
  EXPECT_EXIT(
      {
        store = RunStore::open(dir.path());
        run(graph);
      },
      testing::ExitedWithCode(1), "stage s: summing it up did not end within");
}

TEST_F(Conducting, a_job_that_does_unit_after_unit_is_not_taken_for_one_that_hangs) {
  struct Slow : Role {
    void start(RoleContext& c) override {
      c.submit(
          "train", "trainer",
          [] {
            for (int unit = 0; unit < 50; ++unit) {
              std::this_thread::sleep_for(std::chrono::milliseconds(30));
              next_unit();
            }
          },
          [&c] { c.finish(); });
    }
    void receive(RoleContext&, int, PayloadPtr) override {}
  };
  options.stall_s = 0.02;
  options.job_stall_s = 1;
  const GraphView graph = GraphBuilder().stage("s").node("x", "slow").build();
  Conductor conductor(
      graph, *store, [](const GraphView&, const NodePlan&) { return std::make_unique<Slow>(); }, hooks, options, sink,
      make_caf_hosts());
  EXPECT_EQ(conductor.run(interrupted), ExitCode::done) << conductor.failure_reason();
  EXPECT_EQ(store->events(1, 10, "restart").size(), 0u);
}

// A job of hours that looks for a stop between its units, and one that does not.
struct LongJob : Role {
  LongJob(std::atomic<bool>& b, bool l) : begun(b), looks(l) {}
  std::atomic<bool>& begun;
  bool looks;
  void start(RoleContext& c) override {
    c.submit("evaluate", "evaluator",
             [this] {
               begun = true;
               while (true) {
                 if (looks) check_stop();
                 std::this_thread::sleep_for(std::chrono::milliseconds(1));
               }
             },
             {});
  }
  void receive(RoleContext&, int, PayloadPtr) override {}
};

TEST_F(Conducting, an_interrupt_stops_a_long_job_between_its_units) {
  options.stop_s = 100;
  std::atomic<bool> begun{false};
  const GraphView graph = GraphBuilder().stage("s").node("x", "long").build();
  std::thread user([&] {
    while (!begun) std::this_thread::yield();
    interrupted = true;
  });
  Conductor conductor(
      graph, *store, [&](const GraphView&, const NodePlan&) { return std::make_unique<LongJob>(begun, true); }, hooks, options,
      sink, make_caf_hosts());
  EXPECT_EQ(conductor.run(interrupted), ExitCode::interrupted);
  user.join();
  EXPECT_EQ(events("restart").size(), 0u);
}

TEST_F(ConductingDeathTest, an_interrupt_does_not_wait_for_a_job_that_never_looks) {
  store.reset();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  options.stop_s = 0.05;
  const GraphView graph = GraphBuilder().stage("s").node("x", "long").build();
  EXPECT_EXIT(
      {
        store = RunStore::open(dir.path());
        std::atomic<bool> begun{false};
        std::thread user([&] {
          while (!begun) std::this_thread::yield();
          interrupted = true;
        });
        Conductor(
            graph, *store, [&](const GraphView&, const NodePlan&) { return std::make_unique<LongJob>(begun, false); }, hooks,
            options, sink, make_caf_hosts())
            .run(interrupted);
      },
      testing::ExitedWithCode(130), "job evaluate of x did not end within");
}

TEST_F(Conducting, a_run_directory_that_is_gone_ends_the_run_without_restarts) {
  struct Remover : Role {
    explicit Remover(std::filesystem::path d) : dir(std::move(d)) {}
    std::filesystem::path dir;
    void start(RoleContext& c) override {
      c.submit_io("commit",
                  [this, &c] {
                    std::filesystem::remove_all(dir);
                    c.journal().remember("key", "value");
                  },
                  {});
    }
    void receive(RoleContext&, int, PayloadPtr) override {}
  };
  const GraphView graph = GraphBuilder().stage("s").node("x", "remover").build();
  Conductor conductor(
      graph, *store, [&](const GraphView&, const NodePlan&) { return std::make_unique<Remover>(dir.path()); }, hooks, options,
      sink, make_caf_hosts());
  EXPECT_EQ(conductor.run(interrupted), ExitCode::failed);
  EXPECT_NE(conductor.failure_reason().find("removed or replaced"), std::string::npos) << conductor.failure_reason();
}

TEST_F(Conducting, an_interrupted_run_is_stored_and_continues) {
  lazy = 3;
  const GraphView graph = GraphBuilder().stage("s").node("commit", "commit").build();
  std::thread user([&] {
    while (store->batch_count(1) < 3) std::this_thread::yield();
    interrupted = true;
  });
  EXPECT_EQ(run(graph), ExitCode::interrupted);
  user.join();
  interrupted = false;
  lazy = -1;
  store.reset();
  store = RunStore::open(dir.path());
  EXPECT_EQ(store->batch_count(1), 3);
  EXPECT_EQ(run(graph), ExitCode::done) << reason;
  EXPECT_EQ(store->batch_count(1), 5);
  EXPECT_EQ(sink.log.front(), "start s");
  EXPECT_EQ(sink.log[1], "continue s");
}

TEST_F(Conducting, a_role_that_the_shell_kills_is_no_failure_of_its_stage) {
  lazy = 3;
  options.shell = true;
  options.max_restarts = 0;
  const GraphView graph = GraphBuilder().stage("s").node("commit", "commit").build();
  std::string again;
  std::thread user([&] {
    while (store->batch_count(1) < 3 || !std::filesystem::exists(dir.path() / "shell/socket")) std::this_thread::yield();
    ShellClient client(dir.path());
    for (int kills = 0; kills < 3;)  // between two incarnations there is nobody to kill
      kills += client.ask("kill commit").find("is killed") != std::string::npos;
    again = client.ask("set commit.attr 1");
    client.ask("stop");
  });
  EXPECT_EQ(run(graph), ExitCode::interrupted) << reason;
  user.join();
  EXPECT_EQ(store->events(1, 10, "kill").size(), 3u);
  EXPECT_EQ(store->events(1, 10, "restart").size(), 0u);
  EXPECT_NE(again.find("nothing of this run can be set"), std::string::npos) << again;
}

TEST_F(Conducting, a_paused_run_begins_no_job_and_is_not_taken_for_one_that_hangs) {
  lazy = 3;
  options.shell = true;
  options.stall_s = 0.05;
  options.job_stall_s = 0.05;
  const GraphView graph = GraphBuilder()
                              .stage("s")
                              .node("source", "source")
                              .node("relay", "relay")
                              .node("sink", "sink")
                              .edge("source", "relay", 3)
                              .edge("relay", "sink", 2)
                              .build();
  count = 100'000'000;
  std::string paused, stages;
  std::thread user([&] {
    while (!std::filesystem::exists(dir.path() / "shell/socket")) std::this_thread::yield();
    ShellClient client(dir.path());
    paused = client.ask("pause");
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    do stages = client.ask("stages");
    while (stages.find("paused") == std::string::npos);
    client.ask("resume");
    client.ask("stop");
  });
  EXPECT_EQ(run(graph), ExitCode::interrupted) << reason;
  user.join();
  EXPECT_NE(paused.find("paused"), std::string::npos) << paused;
  EXPECT_EQ(store->events(1, 10, "stall").size(), 0u);
}

TEST_F(Conducting, the_shell_shows_a_run_and_stops_it) {
  lazy = 3;
  options.shell = true;
  const GraphView graph = GraphBuilder()
                              .stage("s")
                              .node("commit", "commit")
                              .node("source", "source")
                              .node("sink", "sink")
                              .edge("source", "sink", 2)
                              .build();
  std::string ps, stages, channels, waits, unknown, inspected, not_there, stopped;
  std::thread user([&] {
    while (store->batch_count(1) < 3 || !std::filesystem::exists(dir.path() / "shell/socket")) std::this_thread::yield();
    ShellClient client(dir.path());
    do ps = client.ask("ps");
    while (ps.find("batch 3") == std::string::npos);
    stages = client.ask("stages");
    channels = client.ask("channels");
    waits = client.ask("waits");
    unknown = client.ask("chanels");
    inspected = client.ask("inspect commit");
    not_there = client.ask("inspect comit");
    stopped = client.ask("stop");
  });
  EXPECT_EQ(run(graph), ExitCode::interrupted);
  user.join();
  EXPECT_EQ(nlohmann::json::parse(ps)["rows"].size(), 3u) << ps;
  const auto stage = nlohmann::json::parse(stages)["rows"][0];
  EXPECT_EQ(stage["phase"], "running");
  EXPECT_EQ(stage["trained"], 3);
  EXPECT_NE(channels.find("source -> sink"), std::string::npos) << channels;
  EXPECT_NE(waits.find("for better times"), std::string::npos) << waits;
  EXPECT_EQ(nlohmann::json::parse(unknown)["hint"], "did you mean 'channels'?");
  EXPECT_EQ(nlohmann::json::parse(inspected)["rows"][0]["value"], 5) << inspected;
  EXPECT_EQ(nlohmann::json::parse(not_there)["error"], "no role comit is in the graph");
  EXPECT_NE(stopped.find("stopping"), std::string::npos) << stopped;
  EXPECT_FALSE(std::filesystem::exists(dir.path() / "shell/socket"));
}

}  // namespace
}  // namespace r1
