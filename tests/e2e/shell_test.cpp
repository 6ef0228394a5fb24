// r1-shell on the run that `tools/setup test` has just made (R1_MAIN_JOB); skipped without one.
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "runtime/store/run_store.h"
#include "tests/e2e/program.h"

namespace r1 {
namespace {

struct FinishedRun : ::testing::Test {
  std::string dir;
  void SetUp() override {
    const char* given = std::getenv("R1_MAIN_JOB");
    if (given == nullptr) GTEST_SKIP() << "set R1_MAIN_JOB to the directory of a finished run of graphs/r1_full.graph";
    dir = given;
  }
  // What it printed, stderr included; `code` is what it must end with.
  std::string shell(const std::string& command, int code) const {
    FILE* const pipe = ::popen((std::string(R1_SHELL) + " " + dir + " -c '" + command + "' 2>&1").c_str(), "r");
    std::string out;
    char buffer[4096];
    for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
    const int status = ::pclose(pipe);
    EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, code) << command << "\n" << out;
    return out;
  }
};

double reward_in(const std::string& samples) {
  const size_t at = samples.find("; reward ");
  return at == samples.npos ? -1 : std::atof(samples.c_str() + at + 9);
}

TEST_F(FinishedRun, shows_its_trajectories_by_order_reward_draw_and_reason) {
  const std::string best = shell("traj rl1 best 1", 0), worst = shell("traj rl1 worst 1", 0);
  EXPECT_GT(reward_in(best), 1) << best;
  EXPECT_EQ(reward_in(worst), 0) << worst;
  EXPECT_NE(shell("traj rl1 12 1", 0).find("draw 12, sample 0"), std::string::npos);
  EXPECT_NE(shell("traj rl1 12 1", 0).find(" of version"), std::string::npos);
  EXPECT_EQ(shell("traj rl1 12 1", 0).find('\x1b'), std::string::npos) << "it is no terminal";
  const std::string coloured = shell("traj --coloured rl1 12 1", 0);
  EXPECT_NE(coloured.find("\x1b["), std::string::npos) << coloured;
  EXPECT_NE(shell("traj rl1 reason=equal_rewards 1", 0).find("dropped: equal_rewards"), std::string::npos);
  EXPECT_NE(shell("traj rl1 first 1", 0).find("draw 0,"), std::string::npos);
  EXPECT_EQ(shell("traj rl1 last 1", 0).find("draw 0,"), std::string::npos);
  EXPECT_NE(shell("traj", 2).find("traj takes STAGE"), std::string::npos);
  EXPECT_NE(shell("traj rl9", 2).find("rl1"), std::string::npos);
  EXPECT_NE(shell("traj rl1 lsat", 2).find("no trajectories are"), std::string::npos);
  EXPECT_NE(shell("traj rl1 last many", 2).find("no arguments of traj"), std::string::npos);
  EXPECT_NE(shell("traj rl1 reason=none_such", 2).find("no such trajectories"), std::string::npos);
  EXPECT_NE(shell("traj base last", 2).find("no such trajectories"), std::string::npos) << "it samples nothing";
  EXPECT_NE(shell("traj rl1 99999999", 2).find("no trajectories of draw 99999999"), std::string::npos);
}

// Compared with what is found by reading them all.
TEST_F(FinishedRun, looks_for_a_trajectory_among_all_that_a_stage_drew) {
  const auto store = RunStore::open_read_only(dir);
  const auto rows = store->stages();
  const int64_t rl1 = std::find_if(rows.begin(), rows.end(), [](const StageRow& r) { return r.name == "rl1"; })->id;
  const std::vector<Resolution> draws = store->resolutions(rl1);
  ASSERT_GT(draws.size(), 4000u) << "the test is about nothing";
  double highest = -1;
  for (const Resolution& draw : draws)
    for (const TrajectoryRow& row : store->trajectories(rl1, draw.draw)) highest = std::max(highest, row.reward.value_or(-1));
  EXPECT_NEAR(reward_in(shell("traj rl1 best 1", 0)), highest, 1e-3);
  const std::string middle = std::to_string(draws[draws.size() / 2].draw);
  EXPECT_NE(shell("traj rl1 " + middle + " 1", 0).find("draw " + middle + ", sample 0"), std::string::npos);
}

TEST_F(FinishedRun, shows_versions_and_its_log_but_nothing_of_roles_that_are_gone) {
  EXPECT_NE(shell("versions rl1", 0).find(" 220 "), std::string::npos) << "its last version";
  EXPECT_NE(shell("log 1", 0).find("exit code 0"), std::string::npos);
  for (const char* live : {"why", "ps", "top"}) EXPECT_NE(shell(live, 2).find("no run is going on"), std::string::npos);
}

}  // namespace
}  // namespace r1
