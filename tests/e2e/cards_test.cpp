// Actors of one run on cards of their own, emulated: weights and trajectories go between devices, and the promises hold.
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "tests/e2e/program.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct Cards : ProgramTest {
  static std::vector<std::string> emulated(const std::string& fault = "") {
    return {std::string("R1_CUDA_PLUGIN=") + R1_EMULATED_PLUGIN, "R1_CUDA_EMULATED_FAULT=" + fault};
  }
  std::vector<std::string> arguments(const fs::path& run, const std::vector<std::string>& settings) const {
    std::vector<std::string> a = {(source_dir() / "tests/e2e/graphs/cards.graph").string(), "--run", run.string(), "-q"};
    for (const std::string& s : settings) a.insert(a.end(), {"--set", s});
    return a;
  }
};

const std::vector<std::string> kOnCards = {"base_trainer.on=gpu:0", "rl_trainer.on=gpu:0", "policy.on=gpu:1",
                                           "reference.on=cpu"};

TEST_F(Cards, a_trainer_a_policy_and_a_reference_on_devices_of_their_own_are_on_policy_and_replay) {
  const ProgramResult r = run_program(arguments(top / "run", kOnCards), emulated());
  ASSERT_EQ(r.code, 0) << r.err;
  const auto summary = nlohmann::json::parse(read_file(top / "run/summary.json"));
  bool compared = false;
  for (const auto& stage : summary["stages"])
    if (stage["name"] == "rl") {
      EXPECT_EQ(stage["logprob_gap_max"], 0);
      EXPECT_GT(stage["logprob_gap_tokens"], 0);
      compared = true;
    }
  EXPECT_TRUE(compared);
  const std::string log = read_file(top / "run/r1.log");
  EXPECT_NE(log.find("policy       gpu:1"), std::string::npos) << log;
  EXPECT_EQ(ledger_complaints(top / "run"), "");

  // Which of two equal cards it is, and whether they are one, changes no bit.
  const ProgramResult one = run_program(
      arguments(top / "one", {"base_trainer.on=gpu:1", "rl_trainer.on=gpu:1", "policy.on=gpu:1", "reference.on=cpu"}),
      emulated());
  ASSERT_EQ(one.code, 0) << one.err;
  EXPECT_EQ(summary_hashes(top / "one"), summary_hashes(top / "run"));

  const ProgramResult replay = run_program({"--replay", (top / "run").string()}, emulated());
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
  EXPECT_NE(replay.out.find("replay: every update is equal"), std::string::npos) << replay.out;
}

TEST_F(Cards, a_card_that_is_lost_ends_its_actor_and_the_run_goes_on_where_it_was) {
  const std::vector<std::string> on = {"node.on=gpu:0", "graph.max_restarts=1"};
  const ProgramResult calm = run_program(arguments(top / "calm", on), emulated());
  ASSERT_EQ(calm.code, 0) << calm.err;

  // A wait that fails once: the stage starts again from the store, in the same process.
  const ProgramResult once = run_program(arguments(top / "once", on), emulated("lost_once:150"));
  ASSERT_EQ(once.code, 0) << once.err;
  EXPECT_NE(read_file(top / "once/r1.log").find("the GPU failed"), std::string::npos) << "the fault came after the end";
  EXPECT_EQ(summary_hashes(top / "once"), summary_hashes(top / "calm"));
  EXPECT_EQ(ledger_complaints(top / "once"), "");

  // A card that stays lost: a failure that says so, and the same command goes on when there is one again.
  const ProgramResult lost = run_program(arguments(top / "lost", on), emulated("lost_from:150"));
  EXPECT_EQ(lost.code, 1) << lost.err;
  EXPECT_NE(lost.err.find("the GPU failed"), std::string::npos) << lost.err;
  const ProgramResult again = run_program(arguments(top / "lost", on), emulated());
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(summary_hashes(top / "lost"), summary_hashes(top / "calm"));
}

TEST_F(Cards, check_prints_what_each_actor_takes_of_which_card) {
  auto check = arguments(top / "run", kOnCards);
  check.push_back("--check");
  const ProgramResult r = run_program(check, emulated());
  ASSERT_EQ(r.code, 0) << r.err;
  for (const char* part : {"gpu:0: 512", "stage base", "base_trainer gpu:0", "masters", "moments", "gradients",
                           "policy       gpu:1", "KV cache up to", "reference    cpu"})
    EXPECT_NE(r.out.find(part), std::string::npos) << part << " in " << r.out;
  EXPECT_FALSE(fs::exists(top / "run"));
}

}  // namespace
}  // namespace r1
