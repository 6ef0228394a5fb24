// Numbers on their way from an engine to summary.json, where a run in order would show 0 whatever became of them.
#include <nlohmann/json.hpp>

#include "actors/batch_statistics.h"
#include "actors/summary.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

using nlohmann::json;

TEST(TrainingStatistics, hold_the_gap_that_was_measured_and_none_where_nothing_was_compared) {
  TrainStats r;
  r.logprob_gap.max = 0.25;
  r.logprob_gap.tokens = 10;
  TrainingMeasures measures;
  measures.objective = Objective::grpo;
  const json found = with_training(json::object(), r, measures);
  EXPECT_EQ(found.at("logprob_gap_max"), 0.25);
  EXPECT_EQ(found.at("logprob_gap_tokens"), 10);
  r.logprob_gap.tokens = 0;
  EXPECT_FALSE(with_training(json::object(), r, measures).contains("logprob_gap_max"));
}

struct SummaryTest : StageTest {};

TEST_F(SummaryTest, of_a_stage_holds_the_largest_gap_and_age_of_its_batches_and_audits) {
  LocalRun run(top / "run", {});
  const int64_t id = run.id("rl");
  const double gaps[] = {0.25, 0.5, 0};
  for (int64_t v = 0; v < 3; ++v)
    run.store->commit_batch(
        id, {v, false, "", json{{"logprob_gap_max", gaps[v]}, {"logprob_gap_tokens", 5}, {"age_max", 2 - v}}.dump(), ""}, {},
        {});
  const auto summary = [&] { return json::parse(stage_summary(run.graph, *run.graph.stage("rl"), *run.store, id, {}, 1)); };
  EXPECT_EQ(summary().at("logprob_gap_max"), 0.5);
  EXPECT_EQ(summary().at("logprob_gap_tokens"), 15);
  EXPECT_EQ(summary().at("staleness_max"), 2);
  run.store->add_metric(id, 3, "logprob_audit_gap", 0.75);
  run.store->add_metric(id, 3, "logprob_audit_tokens", 100);
  EXPECT_EQ(summary().at("logprob_gap_max"), 0.75);
  EXPECT_EQ(summary().at("logprob_gap_tokens"), 115);
}

}  // namespace
}  // namespace r1
