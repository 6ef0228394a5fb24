// What --simulate says of a run that has been (R1_MAIN_JOB), with what engines took in it, beside what it took.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "actors/roles.h"
#include "runtime/store/run_store.h"
#include "runtime/store/stage_times.h"
#include "tests/source_dir.h"
#include "tools/simulate/simulate.h"

namespace r1::simulate {
namespace {

TEST(SimulatedRun, takes_as_long_as_the_real_one_within_fifteen_percent) {
  const char* const dir = std::getenv("R1_MAIN_JOB");
  if (dir == nullptr) GTEST_SKIP() << "set R1_MAIN_JOB to the directory of a finished run of graphs/r1_full.graph";
  const GraphView graph = load_graph(source_dir() / "graphs/r1_full.graph", role_registry(source_dir() / "graphs"));
  const auto store = RunStore::open_read_only(dir);
  double sum = 0;
  int stages = 0;
  for (const StageRow& row : store->stages()) {
    const StagePlan* const plan = graph.stage(row.name);
    const int stage = static_cast<int>(plan - graph.stages.data());
    Setting setting;
    setting.batches = store->batch_count(row.id);
    const StageShape shape = shape_of(graph, stage, setting);
    const StageResult r = simulate_stage(shape, machines_of(graph, stage, setting), measured_costs(dir, row.name, shape));
    const StageTimes times = StageTimes::of(*store, row);
    const double off = std::abs(r.seconds / times.seconds - 1);
    // In the tail of a batch few sequences run, and a decode step of few takes more of a token than one of many.
    EXPECT_LT(off, shape.sort == StageSort::learns_from_samples ? 0.25 : 0.15)
        << row.name << ": " << r.seconds << " s simulated, " << times.seconds << " s took";
    std::printf("| %s | %.1f s | %.1f s | %+.0f %% |\n", row.name.c_str(), times.seconds, r.seconds,
                100 * (r.seconds / times.seconds - 1));
    sum += off;
    ++stages;
  }
  ASSERT_EQ(stages, 15);
  EXPECT_LT(sum / stages, 0.15);
}

}  // namespace
}  // namespace r1::simulate
