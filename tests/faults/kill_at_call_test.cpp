// kill -9 before each system call that changes a file below the run directory: the same command continues, to the same weights,
// and nothing half written stays (P5). And what happens where the system gives too few threads, or takes the directory away.
#include <signal.h>

#include <fstream>

#include "base/files.h"
#include "tests/e2e/bad_input.h"
#include "tests/faults/traced_program.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct KillAtCall : BadInputTest {
  fs::path run() const { return top / "run"; }
  // One stage of two batches and a snapshot after each.
  void SetUp() override {
    BadInputTest::SetUp();
    write_text(top / "g.graph", minimal(R"(, snapshot_s="0")"));
    whole_ = top / "whole";
    ASSERT_EQ(run_program(arguments(whole_)).code, 0);
  }
  std::vector<std::string> arguments(const fs::path& dir) const {
    return {(top / "g.graph").string(), "--run", dir.string(), "-q"};
  }
  static std::string leftovers(const fs::path& dir) {
    std::string found;
    for (const auto& entry : fs::recursive_directory_iterator(dir))
      if (entry.path().string().find(".tmp") != std::string::npos || entry.path().extension() == ".old")
        found += entry.path().string() + "\n";
    size_t snapshots = 0;
    std::error_code none;  // killed between the last batch and its snapshot, the run goes on and needs none
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(dir / "snapshots", none)) ++snapshots;
    if (snapshots > 1) found += std::to_string(snapshots) + " snapshots\n";
    return found;
  }
  void expect_survived(const TracedRun& killed, int64_t n) {
    SCOPED_TRACE("killed at call " + std::to_string(n) + " (" + killed.last + ")");
    const ProgramResult r = run_program(arguments(run()));
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(summary_hashes(run()), summary_hashes(whole_));
    EXPECT_EQ(ledger_complaints(run()), "");
    EXPECT_EQ(leftovers(run()), "");
  }
  fs::path whole_;
};

// All of the start, where the directory, graph and store come into being, and every seventh of what follows.
TEST_F(KillAtCall, every_system_call_that_changes_a_file_is_survived) {
  constexpr int64_t kAll = 60;
  int64_t kills = 0;
  for (int64_t n = 1;; n += n < kAll ? 1 : 7) {
    fs::remove_all(run());
    const TracedRun killed = run_killed_at(arguments(run()), run(), n);
    if (!killed.traced) GTEST_SKIP() << "ptrace is not allowed here";
    if (!killed.killed) {
      EXPECT_EQ(killed.code, 0);
      break;
    }
    ++kills;
    expect_survived(killed, n);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(kills, kAll) << "the run makes more calls than those of its start";
  std::printf("%ld kills\n", static_cast<long>(kills));
}

TEST_F(KillAtCall, too_few_threads_are_said_and_nothing_hangs) {
  for (const int64_t threads : {0, 3, 7, 10}) {
    SCOPED_TRACE(threads);
    const TracedRun r = run_short_of_threads(arguments(run()), threads, top / "errors", 60);
    if (!r.traced) GTEST_SKIP() << "ptrace is not allowed here";
    EXPECT_FALSE(r.killed) << "it hangs";
    EXPECT_EQ(r.code, 1);
    EXPECT_NE(read_file(top / "errors").find("ulimit -u"), std::string::npos) << read_file(top / "errors");
  }
}

struct TakenAway : BadInputTest {};

TEST_F(TakenAway, a_run_directory_that_is_removed_in_mid_run_ends_the_run_by_name) {
  write_text(top / "g.graph", graph_on("config=\"nano.json\", tokenizer=tiny"));
  Program p({(top / "g.graph").string(), "--run", (top / "run").string(), "-q", "--set", "t.until=batches(100000)"});
  while (!fs::exists(top / "run/run.db-wal")) ASSERT_FALSE(p.wait(0.01));
  ASSERT_FALSE(p.wait(1));
  fs::remove_all(top / "run");
  const ProgramResult r = p.result();
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_NE(r.err.find("was removed or replaced while the run was going on"), std::string::npos) << r.err;
  EXPECT_EQ(r.err.find("continued by the same command"), std::string::npos) << r.err;
}

TEST_F(TakenAway, a_store_that_is_removed_in_mid_run_ends_the_run_and_nothing_says_that_it_can_be_continued) {
  write_text(top / "g.graph", graph_on("config=\"nano.json\", tokenizer=tiny"));
  Program p({(top / "g.graph").string(), "--run", (top / "run").string(), "-q", "--set", "t.until=batches(100000)"});
  while (!fs::exists(top / "run/run.db-wal")) ASSERT_FALSE(p.wait(0.01));
  ASSERT_FALSE(p.wait(1));
  for (const char* file : {"run.db", "run.db-wal", "run.db-shm"}) fs::remove(top / "run" / file);
  const ProgramResult r = p.result();
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_NE(r.err.find("the run's store was removed or replaced"), std::string::npos) << r.err;
  EXPECT_EQ(r.err.find("continued by the same command"), std::string::npos) << r.err;
  EXPECT_EQ(run_program({(top / "g.graph").string(), "--run", (top / "run").string(), "-q"}).code, 2);
}

struct Signals : BadInputTest, ::testing::WithParamInterface<int> {};

TEST_P(Signals, end_a_run_gently_and_it_continues) {
  write_text(top / "g.graph", minimal());
  const auto arguments = [&](const char* until) {
    return std::vector<std::string>{(top / "g.graph").string(),     "--run", (top / "run").string(), "-q", "--set",
                                    std::string("t.until=") + until};
  };
  Program p(arguments("batches(100000)"));
  while (!fs::exists(top / "run/run.db-wal")) ASSERT_FALSE(p.wait(0.01));
  ASSERT_FALSE(p.wait(1));
  p.send(GetParam());
  ASSERT_TRUE(p.wait(20)) << "it does not end";
  const ProgramResult r = p.result();
  EXPECT_EQ(r.code, 130) << r.err;
  EXPECT_NE(r.err.find("the same command continues"), std::string::npos) << r.err;
}
INSTANTIATE_TEST_SUITE_P(All, Signals, ::testing::Values(SIGINT, SIGTERM, SIGHUP));

}  // namespace
}  // namespace r1
