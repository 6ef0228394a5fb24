// kill -9 at any moment, then the same command: the ledger is exact; with staleness 0 the weights of every stage are those of
// the uninterrupted run; with staleness 2 a replay is equal (P3, P4, P5).
#include <signal.h>

#include <chrono>
#include <functional>
#include <set>

#include "base/error.h"
#include "base/rng.h"
#include "runtime/store/run_store.h"
#include "tests/e2e/program.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct Kill : ProgramTest {
  static constexpr size_t kStages = 4;
  fs::path dir;
  std::set<std::string> stages_hit;

  // How long an undisturbed run takes here and now.
  static double seconds_of(const std::vector<std::string>& arguments) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(run_program(arguments).code, 0);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  // Kills runs at `kills` random moments up to `latest_s` after their start, and at up to twice as many more until kStages
  // stages were hit; each is continued by the same command; a run that ends is checked by `at_end` and the next one starts from
  // nothing. Counts only kills that hit a living process.
  void kill_runs(const std::vector<std::string>& arguments, uint64_t seed, int kills, double latest_s,
                 const std::function<void()>& at_end) {
    Rng rng(seed, "kill");
    bool unfinished = false;
    int hits = 0;
    const auto more = [&] { return hits < kills || (stages_hit.size() < kStages && hits < 3 * kills); };
    while (more() || unfinished) {
      Program p(arguments);
      const bool ended = p.wait(more() ? latest_s * rng.uniform() : 120);
      if (!ended) {
        ASSERT_TRUE(more()) << "the last continuation does not end";
        p.send(SIGKILL);
        p.result();
        ++hits;
        unfinished = true;
        note_stages();
        continue;
      }
      const ProgramResult r = p.result();
      ASSERT_EQ(r.code, 0) << r.err;
      at_end();
      if (more()) fs::remove_all(dir);
      unfinished = false;
    }
  }

  void note_stages() {
    if (!fs::exists(dir / "run.db")) return;
    try {
      for (const StageRow& row : RunStore::open_read_only(dir)->stages())
        if (row.status == StageStatus::running) stages_hit.insert(row.name);
    } catch (const Error&) {  // killed while the store was being made
    }
  }
};

struct KillOnPolicy : Kill, ::testing::WithParamInterface<const char*> {};

TEST_P(KillOnPolicy, at_thirty_random_moments_changes_nothing) {
  const auto arguments = [](const fs::path& run) {
    return std::vector<std::string>{nano(), "--run", run.string(),
                                    "-q",   "--set", std::string("nano_model.config=") + GetParam()};
  };
  const double whole_s = seconds_of(arguments(top / "whole"));
  const auto expected = summary_hashes(top / "whole");
  ASSERT_EQ(expected.size(), 7u);
  dir = top / "killed";
  kill_runs(arguments(dir), 1, 30, 0.6 * whole_s, [&] {
    EXPECT_EQ(summary_hashes(dir), expected);
    EXPECT_EQ(ledger_complaints(dir), "");
  });
  EXPECT_EQ(run_program({"--replay", dir.string()}).code, 0);
  EXPECT_GE(stages_hit.size(), kStages) << "kills are to hit stages of several kinds";
}

INSTANTIATE_TEST_SUITE_P(Models, KillOnPolicy, ::testing::Values("nano.json", "nano_deepseek.json"));

TEST_F(Kill, at_random_moments_leaves_a_stale_run_exact_and_replayable) {
  const auto arguments = [](const fs::path& run) {
    return std::vector<std::string>{
        nano(), "--run", run.string(), "-q", "--set", "edge.staleness=2", "--set", "rl_trainer.until=batches(20)"};
  };
  const double whole_s = seconds_of(arguments(top / "whole"));
  dir = top / "killed";
  kill_runs(arguments(dir), 2, 30, 0.6 * whole_s, [&] {
    EXPECT_EQ(ledger_complaints(dir), "");
    const ProgramResult replay = run_program({"--replay", dir.string()});
    EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
  });
}

struct KillPoint : Kill, ::testing::WithParamInterface<const char*> {
  void expect_no_change(const std::vector<std::string>& settings) {
    std::vector<std::string> whole = {nano(), "--run", (top / "whole").string(), "-q"};
    whole.insert(whole.end(), settings.begin(), settings.end());
    std::vector<std::string> arguments = whole;
    arguments[2] = (top / "killed").string();
    arguments.insert(arguments.end(), {"--set", "node.snapshot_s=0"});
    ASSERT_EQ(run_program(whole).code, 0);
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
};

TEST_P(KillPoint, between_the_steps_of_a_version_changes_nothing) { expect_no_change({}); }

struct RankedKillPoint : KillPoint {};

TEST_P(RankedKillPoint, of_trainers_of_two_ranks_changes_nothing) {
  expect_no_change({"--set", "sft_trainer.ranks=2", "--set", "rl_trainer.ranks=2"});
}

INSTANTIATE_TEST_SUITE_P(Points, KillPoint,
                         ::testing::Values("before_commit", "after_commit", "after_optimizer_step", "after_snapshot_file",
                                           "after_publish"));
INSTANTIATE_TEST_SUITE_P(Points, RankedKillPoint, ::testing::Values("after_optimizer_step", "after_snapshot_file"));

}  // namespace
}  // namespace r1
