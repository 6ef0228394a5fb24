// What a stage has to show for itself, on real roles and engines (P11).
#include "actors/stage_verdict.h"

#include <set>

#include "actors/codec.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

StageVerdict verdict_of(LocalRun& run, const std::string& stage) {
  return stage_verdict(run.graph, *run.graph.stage(stage), *run.store, run.id(stage));
}

TEST_F(StageTest, every_kind_of_stage_says_what_it_learned) {
  LocalRun run(top / "run", {});
  run.run_all(1);
  for (const StagePlan& stage : run.graph.stages) EXPECT_FALSE(verdict_of(run, stage.name).failed()) << stage.name;
  EXPECT_EQ(verdict_of(run, "base").line, "trained on 192 examples");
  EXPECT_EQ(verdict_of(run, "reward").line, "trained on 24 pairs");
  const LedgerCounts rl = run.store->ledger(run.id("rl"));
  EXPECT_EQ(verdict_of(run, "rl").line.rfind("trained on " + std::to_string(rl.trained) + " ", 0), 0u);
}

// The count of idle batches is a function of the run store, so a stop anywhere changes nothing.
TEST_F(StageTest, an_idle_stage_ends_at_the_same_batch_wherever_it_was_stopped) {
  const std::vector<std::string> settings = {"judge.rewards=0.5 + format - format", "rl_trainer.until=batches(1000)",
                                             "rl_trainer.idle_batches=5"};
  for (const int64_t steps : {1'000'000, 40, 90, 150}) {
    const auto dir = top / std::to_string(steps);
    LocalRun first(dir, settings);
    for (const char* stage : {"base", "sft"}) ASSERT_TRUE(first.run_stage(stage, 1));
    if (!first.run_stage("rl", 2, steps)) {
      first.store.reset();
      LocalRun second(dir, settings);
      ASSERT_TRUE(second.run_stage("rl", 3));
    }
    first.store.reset();
    LocalRun after(dir, settings);
    EXPECT_EQ(after.store->batch_count(after.id("rl")), 5) << steps;
    const StageVerdict v = verdict_of(after, "rl");
    EXPECT_TRUE(v.failed());
    EXPECT_NE(v.line.find("in the last 5 batches (idle_batches)"), std::string::npos) << v.line;
    EXPECT_NE(v.line.find("groups had equal rewards"), std::string::npos) << v.line;
    after.expect_exact_ledgers();
  }
}

// Completions that ran into max_tokens are left out of the loss; a group of nothing else is dropped, before it is trained on.
TEST_F(StageTest, a_group_of_truncated_completions_only_is_dropped_as_truncated_where_those_are_masked) {
  LocalRun run(top / "run", {"policy.max_tokens=6", "judge.rewards=think_length + language", "rl_trainer.mask_truncated=true",
                             "rl_trainer.kl=0", "rl_trainer.min_trained=0", "rl_trainer.until=batches(8)"});
  for (const char* stage : {"base", "sft", "rl"}) ASSERT_TRUE(run.run_stage(stage, 1));
  run.expect_exact_ledgers();
  const int64_t id = run.id("rl");
  std::set<int64_t> trained;
  for (int64_t v = 0; v < run.store->batch_count(id); ++v)
    for (const auto& item : decode_batch(run.store->batch(id, v).payload).items) trained.insert(item.draw);
  std::set<int64_t> resolved;
  for (const Resolution& r : run.store->resolutions(id))
    if (r.batch >= 0) resolved.insert(r.draw);
  EXPECT_EQ(trained, resolved) << "a draw stands as trained and no sample of it was";
  EXPECT_GT(run.store->ledger(id).dropped["truncated"], 0) << "the test is vacuous";
}

}  // namespace
}  // namespace r1
