#include "runtime/flow/wait_registry.h"

#include <gtest/gtest.h>

namespace r1 {
namespace {

struct Waits : testing::Test {
  VirtualClock clock;
  WaitRegistry waits{clock};
  void pass(double s) { clock.advance_ns(static_cast<int64_t>(s * 1e9)); }
  std::string report() { return waits.stall_report("rl1", 60, 600); }
};

TEST_F(Waits, a_stage_that_moves_never_stalls) {
  waits.progressed("rl1");
  waits.begin("rl1", "judge", "input", "for trajectories", "policy");
  for (int i = 0; i < 10; ++i) {
    pass(59);
    EXPECT_EQ(report(), "");
    waits.progressed("rl1");
  }
  pass(61);
  EXPECT_NE(report(), "");
}

TEST_F(Waits, a_running_job_has_the_longer_deadline) {
  waits.progressed("rl1");
  waits.begin("rl1", "trainer", "job train batch 12", "running", "");
  pass(599);
  EXPECT_EQ(report(), "");
  pass(2);
  EXPECT_NE(report().find("trainer: job train batch 12, running, for 601 s, past its deadline of 600 s"), std::string::npos)
      << report();
}

TEST_F(Waits, a_job_that_starts_running_counts_from_there) {
  waits.begin("rl1", "trainer", "job train batch 12", "queued", "");
  pass(599);
  waits.begin("rl1", "trainer", "job train batch 12", "running", "");
  pass(599);
  EXPECT_EQ(report(), "");
}

TEST_F(Waits, a_job_of_days_is_not_late_while_it_moves) {
  waits.begin("rl1", "trainer", "job train batch 12", "running", "");
  for (int unit = 0; unit < 500; ++unit) {
    pass(599);
    ASSERT_EQ(report(), "") << unit;
    waits.progressed("rl1");
  }
  pass(601);
  EXPECT_NE(report().find("past its deadline of 600 s (job_stall_s)"), std::string::npos) << report();
}

TEST_F(Waits, a_cycle_is_named) {
  waits.progressed("rl1");
  waits.begin("rl1", "a", "weights", "for version 3", "b");
  waits.begin("rl1", "b", "groups", "for batch 3", "c");
  waits.begin("rl1", "c", "room c -> a", "for room (capacity 4)", "a");
  pass(61);
  EXPECT_NE(report().find("cycle: a waits for b waits for c waits for a"), std::string::npos) << report();
}

TEST_F(Waits, a_role_in_front_of_which_all_have_finished_is_not_blamed) {
  waits.progressed("rl1");
  waits.feeds("rl1", "prompts", "policy");
  waits.feeds("rl1", "filter", "policy");
  waits.feeds("rl1", "policy", "judge");
  waits.feeds("rl1", "judge", "filter");
  waits.begin("rl1", "filter", "window", "for the draws of batch 4", "judge");
  pass(61);
  EXPECT_NE(report().find("(waits for judge)"), std::string::npos) << report();
  waits.finished("rl1", "prompts");
  EXPECT_NE(report().find("(judge has nothing to do: policy has nothing to do: prompts has finished)"), std::string::npos)
      << report();
  EXPECT_EQ(report().find("waits for judge"), std::string::npos) << report();
  waits.begin("rl1", "judge", "job score", "running", "");
  pass(601);
  EXPECT_NE(report().find("(waits for judge)"), std::string::npos) << "it is at work: " << report();
}

TEST_F(Waits, a_message_overtaken_or_left_lying_is_lost) {
  for (int n = 1; n <= 3; ++n) waits.sent("rl1", "a -> b", "numbers", 4, n, "draw " + std::to_string(n + 10));
  EXPECT_TRUE(waits.channels()[0].lost.empty());
  waits.received("rl1", "a -> b", 1, "draw 11");
  waits.received("rl1", "a -> b", 3, "draw 13");
  EXPECT_EQ(waits.channels()[0].lost, (std::vector<std::string>{"message 2 (draw 12)"}));
  waits.sent("rl1", "a -> b", "numbers", 4, 4, "draw 14");
  pass(61);
  EXPECT_EQ(waits.channels()[0].lost.size(), 2u);
  EXPECT_NE(report().find("lost: message 4 (draw 14) of a -> b"), std::string::npos) << report();
}

TEST_F(Waits, a_forgotten_stage_begins_anew) {
  waits.begin("rl1", "a", "weights", "for version 3", "b");
  waits.sent("rl1", "a -> b", "numbers", 4, 1, "draw 1");
  pass(61);
  waits.forget("rl1");
  EXPECT_EQ(report(), "");
  EXPECT_TRUE(waits.waits().empty());
  EXPECT_TRUE(waits.channels().empty());
}

}  // namespace
}  // namespace r1
