#include "tools/terminal/run_watch.h"

#include <gtest/gtest.h>

#include "tests/tools/report/run_fixture.h"

namespace r1::terminal {
namespace {

TEST(RunWatch, guesses_the_time_left_by_the_batches_between_two_looks_and_not_by_what_came_before_the_first) {
  report::RunFixture run;
  run.rl_batches("plain", 0, 2);  // of a process before this one
  RunWatch watch(run.graph, *run.store);
  watch.started("plain");
  EXPECT_LT(watch.stage_state("plain").left_s, 0);
  run.rl_batches("plain", 2, 3);
  EXPECT_LT(watch.stage_state("plain").left_s, 0) << "the first batch waited for the start of all";
  run.rl_batches("plain", 3, 4);
  const StageState state = watch.stage_state("plain");
  EXPECT_EQ(state.limit, 5);
  EXPECT_GE(state.left_s, 0);
}

}  // namespace
}  // namespace r1::terminal
