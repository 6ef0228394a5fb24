// Actors of one run on cards of their own, emulated: weights and trajectories go between devices, and the promises hold.
#include <nlohmann/json.hpp>
#include <regex>

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

// Batches enough, of enough samples, that most teach something.
std::vector<std::string> more(std::vector<std::string> settings) {
  settings.insert(settings.end(), {"rl_trainer.until=batches(6)", "policy.samples=6"});
  return settings;
}

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

// What a card began, a CPU ends: each part is recomputed by its own arithmetic, and said to be missing where that is not here.
TEST_F(Cards, a_run_that_goes_on_with_other_arithmetic_is_replayed_part_by_part) {
  const fs::path run = top / "run";
  std::vector<std::string> fault = emulated();
  fault.push_back("R1_FAULT=kill:after_commit:6");  // four batches of the second stage
  ASSERT_EQ(run_program(arguments(run, more({"node.on=gpu:0"})), fault).code, 128 + 9);
  std::vector<std::string> on_cpu = arguments(run, more({"node.on=cpu"}));
  EXPECT_EQ(run_program(on_cpu).code, 2) << "other arithmetic, and nobody has agreed to it";
  on_cpu.push_back("--accept-fingerprint");
  const ProgramResult r = run_program(on_cpu);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(ledger_complaints(run), "");

  const ProgramResult both = run_program({"--replay", run.string()}, emulated());
  EXPECT_EQ(both.code, 0) << both.out << both.err;
  for (const char* part : {R"(\nbase +2 .* equal: batches 0 to 1, by r1 .*; cuda emulated)",
                           R"(\nrl +3 .* equal: every published version is equal; batches 0 to 2, by r1 .*; cuda emulated)",
                           R"(\nrl +3 .* equal: batches 3 to 5, by r1 .*; cpu )", "replay: every update is equal"})
    EXPECT_TRUE(std::regex_search(both.out, std::regex(part))) << part << " in " << both.out;

  const ProgramResult without = run_program({"--replay", run.string()}, {"R1_CUDA_PLUGIN=" + (top / "none").string()});
  EXPECT_EQ(without.code, 1) << without.out << without.err;
  for (const char* part :
       {R"(\nbase +2 +NOT RECOMPUTED: batches 0 to 1, by r1 .*; cuda emulated)",
        R"(\nrl +3 +NOT RECOMPUTED: batches 0 to 2, by r1 .*; cuda emulated)",
        R"(\nrl +3 .* equal: batches 3 to 5, by r1 .*; cpu )", "what was recomputed is equal, and not all was"})
    EXPECT_TRUE(std::regex_search(without.out, std::regex(part))) << part << " in " << without.out;
}

// Without a snapshot all is trained again by the new arithmetic: there is one part, and what the old one published is no
// promise.
TEST_F(Cards, a_stage_that_begins_again_with_other_arithmetic_is_replayed_by_that_alone) {
  const fs::path run = top / "run";
  std::vector<std::string> fault = emulated();
  fault.push_back("R1_FAULT=kill:after_commit:6");
  ASSERT_EQ(run_program(arguments(run, more({"node.on=gpu:0", "rl_trainer.snapshot_s=1000"})), fault).code, 128 + 9);
  std::vector<std::string> on_cpu = arguments(run, more({"node.on=cpu", "rl_trainer.snapshot_s=1000"}));
  on_cpu.push_back("--accept-fingerprint");
  const ProgramResult r = run_program(on_cpu);
  ASSERT_EQ(r.code, 0) << r.err;
  const ProgramResult replay = run_program({"--replay", run.string()}, emulated());
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
  EXPECT_TRUE(std::regex_search(replay.out, std::regex(R"(\nrl +6 +[0-9a-f]+ +equal\n)"))) << replay.out;
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
