// What a role knows of the run: values before it starts, records that never wait, and a journal for its jobs alone.
#include <gtest/gtest.h>

#include "runtime/flow/local_scheduler.h"
#include "tests/runtime/fake_stage.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

using Outcome = LocalScheduler::Outcome;

// Recalls, and takes `count` numbers.
class Recaller : public Role {
 public:
  explicit Recaller(int64_t count) : count_(count) {}
  bool recalls() const override { return true; }
  void start(RoleContext& context) override {
    EXPECT_EQ(taken_, 0) << "a message came before the start";
    batches = context.recovered().batches;
  }
  void receive(RoleContext& context, int edge, PayloadPtr) override {
    EXPECT_GE(batches, 0) << "not started";
    context.release(edge);
    if (++taken_ == count_) context.finish();
  }
  int64_t batches = -1;

 private:
  int64_t count_, taken_ = 0;
};

class Starter : public Role {
 public:
  explicit Starter(std::function<void(RoleContext&)> f) : f_(std::move(f)) {}
  void start(RoleContext& context) override { f_(context); }
  void receive(RoleContext&, int, PayloadPtr) override {}

 private:
  std::function<void(RoleContext&)> f_;
};

struct Memory : testing::Test {
  TemporaryDirectory dir;
  std::unique_ptr<RunStore> store = RunStore::open(dir.path());

  LocalScheduler::Result alone(std::function<void(RoleContext&)> start) {
    const GraphView graph = GraphBuilder().stage("s").node("only", "starter").build();
    LocalScheduler stage(graph, "s", *store,
                         [&](const GraphView&, const NodePlan&) { return std::make_unique<Starter>(start); });
    return stage.run();
  }
};

TEST_F(Memory, a_role_that_recalls_starts_with_what_the_stage_left_and_messages_wait_until_then) {
  const GraphView graph =
      GraphBuilder().stage("s").node("source", "source").node("sink", "recaller").edge("source", "sink", 3).build();
  const int64_t id = store->ensure_stage("s");
  store->commit_batch(id, {0, false, "x", "", ""}, {}, {});
  store->commit_batch(id, {1, false, "y", "", ""}, {}, {});
  for (uint64_t seed = 0; seed < 50; ++seed) {
    LocalScheduler stage(graph, "s", *store,
                         [](const GraphView&, const NodePlan& node) -> std::unique_ptr<Role> {
                           if (node.role == "source") return std::make_unique<SourceRole>(10);
                           return std::make_unique<Recaller>(10);
                         },
                         {.seed = seed});
    EXPECT_EQ(stage.run().outcome, Outcome::finished) << "seed " << seed << "\n" << stage.result().report;
    EXPECT_EQ(dynamic_cast<Recaller&>(stage.role("sink")).batches, 2) << "seed " << seed;
  }
}

TEST_F(Memory, recovery_holds_draws_ledger_metrics_artifacts_and_snapshots_of_its_stage_alone) {
  const int64_t other = store->ensure_stage("other"), id = store->ensure_stage("s");
  StoredStage stage(*store, id, "s"), beside(*store, other, "other");
  beside.draw(0, 0);
  beside.metric(0, "tokens_generated", 1000);
  for (int64_t draw = 0; draw < 5; ++draw) stage.draw(draw, draw);
  stage.metric(0, "tokens_generated", 10);
  stage.metric(1, "tokens_generated", 32);
  stage.commit({0, false, "x", "{}", ""}, {{0, 0, ""}, {1, -1, "stale"}, {3, 0, ""}}, {});
  stage.artifact("reference", {"snapshots/s-reference-4", "4"}, {});
  stage.snapshot({1, "snapshots/s-1.state"});
  stage.event("judge", "reward_error", R"({"draw":1})");
  stage.remember("batches", "7");
  const Recovery r = stage.recovery();
  EXPECT_EQ(r.batches, 1);
  EXPECT_EQ(r.next_draw, 5);
  EXPECT_EQ(r.open_draws, (std::set<int64_t>{2, 4}));
  EXPECT_EQ(r.ledger.trained, 2);
  EXPECT_EQ(r.ledger.dropped.at("stale"), 1);
  EXPECT_EQ(r.metrics.at("tokens_generated").values, 2);
  EXPECT_EQ(r.metrics.at("tokens_generated").sum, 42);
  EXPECT_EQ(r.artifacts.at("reference").hash, "4");
  ASSERT_EQ(r.snapshots.size(), 1u);
  EXPECT_EQ(r.snapshots[0].file, "snapshots/s-1.state");
  EXPECT_EQ(r.first_reward_error, R"({"draw":1})");
  EXPECT_FALSE(r.other_arithmetic);
  store->add_event(0, "r1-run", "fingerprint", "{}");  // of the run, by whoever continued it (tools/run/fingerprint.cpp)
  EXPECT_TRUE(stage.recovery().other_arithmetic);
  EXPECT_EQ(store->meta("batches/s"), "7");
  EXPECT_EQ(beside.artifact_of("s", "reference")->path, "snapshots/s-reference-4");
}

TEST_F(Memory, a_tally_goes_on_from_the_last_one_whoever_gave_it_and_whenever) {
  const int64_t id = store->ensure_stage("s"), beside = store->ensure_stage("other");
  StoredStage one(*store, id, "s"), another(*store, id, "s");
  StoredStage(*store, beside, "other").tally("tokens_generated", 1000);
  one.tally("tokens_generated", 10);
  another.tally("tokens_generated", 20);
  one.tally("draft_accepted", 0.5);
  store->flush();
  store.reset();
  store = RunStore::open(dir.path());
  StoredStage(*store, id, "s").tally("tokens_generated", 30);
  std::vector<std::pair<int64_t, double>> known;
  for (const MetricRow& row : store->metrics(id, "tokens_generated")) known.emplace_back(row.step, row.value);
  EXPECT_EQ(known, (std::vector<std::pair<int64_t, double>>{{0, 10}, {1, 20}, {2, 30}}));
}

TEST_F(Memory, what_is_posted_from_outside_runs_on_the_role_and_an_exception_in_it_fails_the_role) {
  EXPECT_EQ(alone([](RoleContext& context) { context.post_from_outside([&context] { context.finish(); }); }).outcome,
            Outcome::finished);
  EXPECT_EQ(alone([](RoleContext& context) { context.post_from_outside([] { throw failure("from outside"); }); }).outcome,
            Outcome::failed);
}

TEST_F(Memory, a_role_that_would_wait_for_the_disk_outside_of_a_job_is_caught_and_its_jobs_may) {
  for (const bool io : {false, true}) {
    const auto in_job = alone([io](RoleContext& context) {
      const auto work = [&context] { EXPECT_EQ(context.journal().batches(), 0); };
      const auto done = [&context] { context.finish(); };
      io ? context.submit_io("look", work, done) : context.submit("look", "", work, done);
    });
    EXPECT_EQ(in_job.outcome, Outcome::finished) << in_job.report;
  }
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(alone([](RoleContext& context) { context.journal().batches(); }),
               "only would wait for the disk outside of a job");
  EXPECT_DEATH(alone([](RoleContext& context) {
                 context.submit(
                     "nothing", "", [] {}, [&context] { context.journal().batches(); });
               }),
               "only would wait for the disk outside of a job")
      << "what follows a job is the role's own again";
}

TEST_F(Memory, who_recalls_nothing_is_told_so) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(alone([](RoleContext& context) { context.recovered(); }), "only recalls nothing");
}

}  // namespace
}  // namespace r1
