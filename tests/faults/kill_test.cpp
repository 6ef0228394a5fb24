// kill -9 at any moment, then the same command: the ledger is exact; with staleness 0 the weights of every stage are those of the
// uninterrupted run; with staleness 2 a replay is equal (P3, P4, P5).
#include <signal.h>

#include "base/rng.h"
#include "tests/e2e/program.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

std::string nano() { return (source_dir() / "tests/e2e/graphs/nano.graph").string(); }

struct Kill : ProgramTest {
  // Runs to the end, killed at `kills` random moments on the way. Returns how many kills hit a living process.
  int run_killed(const std::vector<std::string>& arguments, uint64_t seed, int kills) {
    Rng rng(seed, "kill");
    int hits = 0;
    for (int attempt = 0; attempt < 4 * kills && hits < kills; ++attempt) {
      Program p(arguments);
      if (p.wait(0.02 + 0.5 * rng.uniform())) {
        EXPECT_EQ(p.result().code, 0) << p.result().err;
        if (hits >= kills / 2) return hits;
        fs::remove_all(arguments[2]);  // finished before enough kills: once more from the start
        continue;
      }
      p.send(SIGKILL);
      p.result();
      ++hits;
    }
    const ProgramResult last = run_program(arguments);
    EXPECT_EQ(last.code, 0) << last.err;
    return hits;
  }
};

TEST_F(Kill, at_thirty_random_moments_changes_nothing_when_on_policy) {
  ASSERT_EQ(run_program({nano(), "--run", (top / "whole").string(), "-q"}).code, 0);
  const auto expected = summary_hashes(top / "whole");
  ASSERT_EQ(expected.size(), 7u);
  EXPECT_GE(run_killed({nano(), "--run", (top / "killed").string(), "-q"}, 1, 30), 15);
  EXPECT_EQ(summary_hashes(top / "killed"), expected);
  EXPECT_EQ(ledger_complaints(top / "killed"), "");
  EXPECT_EQ(run_program({"--replay", (top / "killed").string()}).code, 0);
}

TEST_F(Kill, at_random_moments_leaves_a_stale_run_exact_and_replayable) {
  const fs::path dir = top / "killed";
  EXPECT_GE(run_killed({nano(), "--run", dir.string(), "-q", "--set", "edge.staleness=2", "--set", "rl_trainer.until=batches(20)"}, 2, 20), 10);
  EXPECT_EQ(ledger_complaints(dir), "");
  const ProgramResult replay = run_program({"--replay", dir.string()});
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
}

struct KillPoint : Kill, ::testing::WithParamInterface<const char*> {};

TEST_P(KillPoint, between_the_steps_of_a_version_changes_nothing) {
  ASSERT_EQ(run_program({nano(), "--run", (top / "whole").string(), "-q"}).code, 0);
  const std::vector<std::string> arguments = {nano(), "--run", (top / "killed").string(), "-q", "--set", "node.snapshot_s=0"};
  int killed = 0;
  for (int n : {1, 2, 3, 5, 8, 13}) {
    const ProgramResult r = run_program(arguments, {std::string("R1_FAULT=kill:") + GetParam() + ":" + std::to_string(n)});
    if (r.code == 0) break;
    ASSERT_EQ(r.code, 128 + SIGKILL) << r.err;
    ++killed;
  }
  EXPECT_GE(killed, 3);
  const ProgramResult last = run_program(arguments);
  ASSERT_EQ(last.code, 0) << last.err;
  EXPECT_EQ(summary_hashes(top / "killed"), summary_hashes(top / "whole"));
  EXPECT_EQ(ledger_complaints(top / "killed"), "");
}

INSTANTIATE_TEST_SUITE_P(Points, KillPoint,
                         ::testing::Values("before_commit", "after_commit", "after_optimizer_step", "after_snapshot_file", "after_publish"));

}  // namespace
}  // namespace r1
