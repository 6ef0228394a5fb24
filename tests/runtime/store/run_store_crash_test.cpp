// A child commits batches until it is killed with SIGKILL; the store it leaves must hold whole batches only.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/rng.h"
#include "runtime/store/run_store.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

constexpr int64_t kDrawsPerBatch = 5;  // of each batch: 3 trained, 2 dropped

// Continues where the store stands; writes one byte to `fd` after every durable commit.
[[noreturn]] void commit_forever(const std::filesystem::path& dir, int fd) {
  auto store = RunStore::open(dir);
  const int64_t stage = store->ensure_stage("rl1");
  for (int64_t v = store->batch_count(stage);; ++v) {
    const int64_t first = v * kDrawsPerBatch;
    for (int64_t d = first; d < first + kDrawsPerBatch; ++d) store->add_draw(stage, d, d);
    std::vector<Resolution> resolutions{{first, -1, "reward_error"}, {first + 1, -1, "equal_rewards"}};
    std::vector<TrajectoryRow> trajectories;
    for (int64_t d = first + 2; d < first + kDrawsPerBatch; ++d) {
      resolutions.push_back({d, v, ""});
      for (int s = 0; s < 2; ++s) trajectories.push_back({d, s, 1.0, "{}", std::string(3000, static_cast<char>('a' + d % 26))});
    }
    store->commit_batch(stage, {v, false, std::string(20000, static_cast<char>('a' + v % 26)), "", ""}, resolutions,
                        trajectories);
    if (::write(fd, "x", 1) != 1) std::_Exit(1);
  }
}

// Runs the child until it has acknowledged `commits` and `spin_us` microseconds more have passed; returns how many it
// acknowledged.
int64_t run_and_kill(const std::filesystem::path& dir, int64_t commits, uint64_t spin_us, const char* fault) {
  int fds[2];
  EXPECT_EQ(::pipe(fds), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(fds[0]);
    ::alarm(100);  // never outlives a broken test
    if (!fault) commit_forever(dir, fds[1]);
    // Faults are read once per process: a fresh one is needed.
    ::setenv("R1_FAULT", fault, 1);
    ::setenv("R1_TEST_DIR", dir.c_str(), 1);
    ::setenv("R1_TEST_FD", std::to_string(fds[1]).c_str(), 1);
    ::execl("/proc/self/exe", "test", "--gtest_also_run_disabled_tests", "--gtest_filter=RunStoreCrash.DISABLED_writer_process",
            nullptr);
    std::_Exit(1);
  }
  ::close(fds[1]);
  int64_t acknowledged = 0;
  char byte;
  while (acknowledged < commits && ::read(fds[0], &byte, 1) == 1) ++acknowledged;
  std::this_thread::sleep_for(std::chrono::microseconds(spin_us));
  if (!fault) ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  while (::read(fds[0], &byte, 1) == 1) ++acknowledged;
  ::close(fds[0]);
  return acknowledged;
}

void expect_whole_batches(const std::filesystem::path& dir, int64_t at_least, int64_t at_most) {
  auto store = RunStore::open(dir);
  const int64_t stage = store->ensure_stage("rl1");
  const int64_t batches = store->batch_count(stage);
  EXPECT_GE(batches, at_least);
  EXPECT_LE(batches, at_most);
  EXPECT_EQ(store->check_ledger(stage, true), "");
  EXPECT_EQ(store->ledger(stage).trained, 3 * batches);
  for (int64_t v = 0; v < batches; ++v) {
    EXPECT_EQ(store->batch(stage, v).payload.size(), 20000u);
    for (int64_t d = v * kDrawsPerBatch; d < (v + 1) * kDrawsPerBatch; ++d) {
      ASSERT_TRUE(store->resolution(stage, d).has_value()) << d;
      EXPECT_EQ(store->trajectories(stage, d).size(), d % kDrawsPerBatch >= 2 ? 2u : 0u);
    }
  }
}

TEST(RunStoreCrash, a_writer_killed_at_random_moments_leaves_whole_batches) {
  TemporaryDirectory dir;
  Rng rng(20260101, "kill");
  int64_t acknowledged = 0;
  for (int round = 0; round < 12; ++round) {
    acknowledged += run_and_kill(dir.path(), static_cast<int64_t>(rng.below(4)), rng.below(6000), nullptr);
    // A commit may be durable without its acknowledgement: at most one a round.
    expect_whole_batches(dir.path(), acknowledged, acknowledged + round + 1);
  }
}

// Not a test: the body of the child above.
TEST(RunStoreCrash, DISABLED_writer_process) {
  const char* dir = std::getenv("R1_TEST_DIR");
  if (dir) commit_forever(dir, std::atoi(std::getenv("R1_TEST_FD")));
}

TEST(RunStoreCrash, a_kill_before_the_commit_loses_the_batch_and_one_after_keeps_it) {
  TemporaryDirectory before, after;
  EXPECT_EQ(run_and_kill(before.path(), 1'000'000, 0, "kill:before_commit:3"), 2);
  expect_whole_batches(before.path(), 2, 2);
  EXPECT_EQ(run_and_kill(after.path(), 1'000'000, 0, "kill:after_commit:3"), 2);
  expect_whole_batches(after.path(), 3, 3);
}

}  // namespace
}  // namespace r1
