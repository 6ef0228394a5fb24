#include "actors/snapshots.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

TEST(Snapshots, are_due_when_the_interval_is_over_and_training_has_stood_still_for_its_share_at_most) {
  Snapshots snapshots("", "s", /*interval_s=*/10, /*share=*/0.01, /*now_s=*/100, {});
  EXPECT_FALSE(snapshots.due(109)) << "none before an interval has passed";
  EXPECT_TRUE(snapshots.due(110));
  snapshots.wrote(0.01, 111);
  EXPECT_FALSE(snapshots.due(120));
  EXPECT_TRUE(snapshots.due(121));
  snapshots.wrote(3, 130);
  EXPECT_FALSE(snapshots.due(429)) << "3 s are a hundredth of 300";
  EXPECT_TRUE(snapshots.due(430));
}

TEST(Snapshots, of_interval_0_are_due_after_every_batch_whatever_they_take) {
  Snapshots snapshots("", "s", 0, 0.01, 100, {});
  EXPECT_TRUE(snapshots.due(100));
  snapshots.wrote(3, 103);
  EXPECT_TRUE(snapshots.due(103));
}

size_t files_of(const LocalRun& run, const std::string& stage) {
  size_t n = 0;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(run.dir / "snapshots", none))
    n += entry.path().filename().string().starts_with(stage + "-") && entry.path().extension() == ".state";
  return n;
}

// Runs the stage, and looks after every few steps.
LocalScheduler::Outcome run_watched(LocalRun& run, const std::function<void()>& look) {
  LocalScheduler scheduler(run.graph, "base", *run.store, role_factory(run.env), local_options(run.as_bytes));
  for (int i = 0; i < 20'000; ++i) {
    const auto outcome = scheduler.run(5).outcome;
    look();
    if (outcome != LocalScheduler::Outcome::running) return outcome;
  }
  return LocalScheduler::Outcome::running;
}

TEST_F(StageTest, a_stage_has_one_snapshot_at_a_time_and_none_when_it_has_ended) {
  LocalRun run(top / "run", {"base_trainer.snapshot_s=0"});
  size_t most = 0;
  const auto outcome = run_watched(run, [&] {
    most = std::max(most, run.store->snapshots(run.id("base")).size());
    EXPECT_LE(files_of(run, "base"), 1u);
  });
  ASSERT_EQ(outcome, LocalScheduler::Outcome::finished);
  EXPECT_EQ(most, 1u);
  EXPECT_TRUE(run.store->snapshots(run.id("base")).empty());
  EXPECT_EQ(files_of(run, "base"), 0u);
}

// The attribute arrives: with next to no share there is no second snapshot within the stage.
TEST_F(StageTest, snapshots_come_as_rarely_as_their_share_says) {
  for (const auto& [share, several] : std::map<std::string, bool>{{"1", true}, {"1e-6", false}}) {
    LocalRun run(top / share, {"base_trainer.snapshot_s=1e-6", "base_trainer.snapshot_share=" + share});
    std::set<int64_t> versions;
    const auto outcome = run_watched(run, [&] {
      for (const SnapshotRow& row : run.store->snapshots(run.id("base"))) versions.insert(row.version);
    });
    ASSERT_EQ(outcome, LocalScheduler::Outcome::finished);
    EXPECT_EQ(versions.size() > 1, several) << share << ": " << versions.size();
  }
}

}  // namespace
}  // namespace r1
