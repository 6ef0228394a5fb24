#include "runtime/fault.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace r1 {
namespace {

TEST(FaultPlan, drop_and_fail_happen_once) {
  FaultPlan plan("drop:a->b:3, fail:rl1_trainer:2 ,slow:judge:40");
  EXPECT_FALSE(plan.drop("a -> b", 2));
  EXPECT_FALSE(plan.drop("a -> c", 3));
  EXPECT_TRUE(plan.drop("a -> b", 3));
  EXPECT_FALSE(plan.drop("a -> b", 3));
  EXPECT_TRUE(plan.fail("rl1_trainer", 2));
  EXPECT_FALSE(plan.fail("rl1_trainer", 2));
  EXPECT_EQ(plan.slow_ms("judge"), 40);
  EXPECT_EQ(plan.slow_ms("rl1_trainer"), 0);
}

TEST(FaultPlan, a_malformed_plan_is_bad_input) {
  for (const char* text : {"drop", "drop:a:3", "drop:a->b", "fail:x:y", "fail:x:0", "fail::1", "explode:x:1", "kill:p:3x"}) {
    try {
      FaultPlan plan(text);
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      EXPECT_NE(e.message().find(text), std::string::npos);
    }
  }
  EXPECT_TRUE(FaultPlan("").empty());
}

TEST(FaultPlanDeathTest, kill_strikes_at_the_nth_passing_of_its_point) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  FaultPlan plan("kill:after_publish:2");
  plan.point("before_commit");
  plan.point("after_publish");
  EXPECT_EXIT(plan.point("after_publish"), testing::KilledBySignal(SIGKILL), "");
}

}  // namespace
}  // namespace r1
