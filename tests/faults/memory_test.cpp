// Bounded memory (P9): a slow consumer slows its producers.
#include <algorithm>

#include "base/error.h"
#include "runtime/store/run_store.h"
#include "tests/e2e/program.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

// Batches of the stage that are in the run store; 0 before there is one.
int64_t batches_of(const fs::path& run, const std::string& stage) {
  try {
    const auto store = RunStore::open_read_only(run);
    for (const StageRow& row : store->stages())
      if (row.name == stage) return store->batch_count(row.id);
  } catch (const Error&) {  // it is being made
  }
  return 0;
}

struct SlowRole : ProgramTest, ::testing::WithParamInterface<const char*> {};

TEST_P(SlowRole, leaves_resident_memory_bounded) {
  constexpr int64_t kBatches = 480;
  const std::string graph = (source_dir() / "tests/e2e/graphs/nano.graph").string();
  Program p(
      // It goes on learning for as long as it is looked at: by batches and not by seconds.
      {graph, "--run", (top / "run").string(), "-q", "--set", "edge.staleness=4", "--set", "rl_trainer.until=batches(4000)",
       "--set", "rl_trainer.idle_batches=0", "--set", "judge.rewards=length"},
      {std::string("R1_FAULT=slow:") + GetParam() + ":15"});
  double most_mib = 0;
  while (batches_of(top / "run", "rl") < kBatches) {
    ASSERT_FALSE(p.wait(0.05)) << p.result().err;
    most_mib = std::max(most_mib, static_cast<double>(p.resident_kib()) / 1024);
  }
  RecordProperty("most_mib", std::to_string(most_mib));
  // 62 to 82 MiB were seen. With channels that hold 65,536 messages (--set edge.capacity=65536) it is 145 to 186, where the
  // staleness stops the generator. That nothing leaks in the long run is for test_long_run.
  EXPECT_GT(most_mib, 20);
  EXPECT_LT(most_mib, 110);
}

INSTANTIATE_TEST_SUITE_P(Roles, SlowRole, ::testing::Values("judge", "groups", "rl_trainer"));

}  // namespace
}  // namespace r1
