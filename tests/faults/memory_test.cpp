// Bounded memory (P9): a slow consumer slows its producers; resident memory does not grow with the run.
#include "tests/e2e/program.h"

namespace r1 {
namespace {

struct SlowRole : ProgramTest, ::testing::WithParamInterface<const char*> {};

TEST_P(SlowRole, leaves_resident_memory_flat) {
  const std::string graph = (source_dir() / "tests/e2e/graphs/nano.graph").string();
  Program p(
      // It goes on learning for as long as it is looked at.
      {graph, "--run", (top / "run").string(), "-q", "--set", "edge.staleness=4", "--set", "rl_trainer.until=batches(4000)",
       "--set", "rl_trainer.idle_batches=0", "--set", "judge.rewards=length"},
      {std::string("R1_FAULT=slow:") + GetParam() + ":15"});
  std::vector<double> resident_mib;
  while (!p.wait(0.1)) {
    resident_mib.push_back(static_cast<double>(p.resident_kib()) / 1024);
    if (resident_mib.size() > 150) break;
  }
  ASSERT_GT(resident_mib.size(), 20u) << "too short to see anything";
  // Least squares over the middle of the run, inside the RL stage (the stages after it load models of their own), as growth
  // from its begin to its end.
  const size_t begin = resident_mib.size() * 3 / 10, end = resident_mib.size() * 8 / 10;
  double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (size_t i = begin; i < end; ++i) {
    const double x = static_cast<double>(i - begin);
    n += 1, sx += x, sy += resident_mib[i], sxx += x * x, sxy += x * resident_mib[i];
  }
  const double slope = (n * sxy - sx * sy) / (n * sxx - sx * sx);
  const double growth_mib = slope * (n - 1);
  RecordProperty("growth_mib", std::to_string(growth_mib));
  // The stated bound: 8 MiB over half a run; the queue of a producer without backpressure grows by far more.
  EXPECT_LT(growth_mib, 8) << "resident at the end: " << resident_mib.back() << " MiB";
}

INSTANTIATE_TEST_SUITE_P(Roles, SlowRole, ::testing::Values("judge", "groups", "rl_trainer"));

}  // namespace
}  // namespace r1
