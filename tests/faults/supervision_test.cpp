// Supervision: a failed role is restarted from the run store; a lost message is named and the run goes on (P8).
#include "base/files.h"
#include "tests/e2e/program.h"

namespace r1 {
namespace {

struct Supervision : ProgramTest {
  void SetUp() override {
    ProgramTest::SetUp();
    ASSERT_EQ(run_program({nano(), "--run", (top / "whole").string(), "-q"}).code, 0);
  }
  void expect_same() {
    EXPECT_EQ(summary_hashes(top / "run"), summary_hashes(top / "whole"));
    EXPECT_EQ(ledger_complaints(top / "run"), "");
  }
};

TEST_F(Supervision, a_role_that_throws_is_restarted_and_the_weights_are_the_same) {
  for (const char* node : {"judge", "policy", "rl_trainer", "reference", "prompts", "rs_filter", "student"}) {
    std::filesystem::remove_all(top / "run");
    const ProgramResult r =
        run_program({nano(), "--run", (top / "run").string(), "-q"}, {std::string("R1_FAULT=fail:") + node + ":3"});
    ASSERT_EQ(r.code, 0) << node << r.err;
    EXPECT_NE(r.err.find(node), std::string::npos) << "the failure is not reported: " << r.err;
    expect_same();
  }
}

TEST_F(Supervision, a_lost_message_is_named_within_the_deadline_and_the_run_recovers) {
  const ProgramResult r = run_program({nano(), "--run", (top / "run").string(), "-q", "--set", "graph.stall_s=1"},
                                      {"R1_FAULT=drop:policy->judge:3"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("policy -> judge"), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("message 3"), std::string::npos) << r.err;
  EXPECT_EQ(summary_hashes(top / "run"), summary_hashes(top / "whole"));
}

TEST_F(Supervision, a_role_that_always_fails_ends_the_run_resumable_with_its_reason) {
  std::string faults = "R1_FAULT=fail:judge:1";
  for (int i = 0; i < 12; ++i) faults += ",fail:judge:1";
  const ProgramResult r = run_program({nano(), "--run", (top / "run").string(), "-q"}, {faults});
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_NE(r.err.find("judge"), std::string::npos) << r.err;
  ASSERT_EQ(run_program({nano(), "--run", (top / "run").string(), "-q"}).code, 0);
  expect_same();
}

// P2, seen from the trainer (its batch) and from the generator's audit (a group that teaches nothing is in no batch).
struct BrokenPromise : ProgramTest, ::testing::WithParamInterface<const char*> {};

TEST_P(BrokenPromise, one_bit_of_difference_between_sampling_and_training_stops_the_run) {
  const ProgramResult r =
      run_program({nano(), "--run", (top / "run").string(), "-q", "--set", GetParam()}, {"R1_FAULT=gap:policy:5"});
  EXPECT_EQ(r.code, 1) << r.err;
  for (const char* word : {"stage rl", "draw 5", "sample 0", "token ", "when trained", "when sampled"})
    EXPECT_NE(r.err.find(word), std::string::npos) << "expected '" << word << "' in: " << r.err;
  EXPECT_EQ(r.err.find("starts again"), std::string::npos) << "a broken promise is not tried again: " << r.err;
}

std::string where_it_is(const ::testing::TestParamInfo<const char*>& info) {
  const char* names[] = {"in_a_batch", "when_stale", "in_a_dropped_group"};
  return names[info.index];
}
INSTANTIATE_TEST_SUITE_P(Seen, BrokenPromise,
                         ::testing::Values("edge.staleness=0", "edge.staleness=1", "judge.rewards=length - length"), where_it_is);

}  // namespace
}  // namespace r1
