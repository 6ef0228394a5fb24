// What --simulate says of a run that has been (R1_MAIN_JOB), with what engines took in it, beside what it took.
#include <gtest/gtest.h>

#include <cmath>
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
    const auto evaluator = times.engine_s.find("evaluator");  // before and after the batches; not simulated
    const double took = times.seconds - (evaluator == times.engine_s.end() ? 0 : evaluator->second);
    const double off = std::abs(r.seconds / took - 1);
    // What only learns from examples begins with reading all of them, which is not simulated either.
    EXPECT_LT(off, shape.sort == StageSort::learns_from_examples ? 0.3 : 0.25)
        << row.name << ": " << r.seconds << " s simulated, " << took << " s took";
    sum += off;
    ++stages;
  }
  ASSERT_EQ(stages, 15);
  EXPECT_LT(sum / stages, 0.15);
}

}  // namespace
}  // namespace r1::simulate
