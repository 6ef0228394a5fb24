// The scripts that a card is measured by (tools/gpu), on an emulated one: that they work, and what they say.
#include <fstream>
#include <regex>

#include "base/files.h"
#include "tests/e2e/program.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct CardScripts : ProgramTest {
  // In the place of nvidia-smi: a card of which 73 % of the time is taken.
  void SetUp() override {
    ProgramTest::SetUp();
    fs::create_directories(top / "path");
    std::ofstream(top / "path/nvidia-smi") << "#!/bin/sh\nwhile :; do date '+%Y/%m/%d %H:%M:%S.%3N, 73'; sleep 0.02; done\n";
    fs::permissions(top / "path/nvidia-smi", fs::perms::owner_all);
  }
  ProgramResult script(const std::string& name, std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {(source_dir() / "tools/gpu" / name).string(), "--bin", R1_BIN});
    arguments.insert(arguments.begin(), "python3");
    const char* const path = std::getenv("PATH");
    return Program(arguments,
                   {std::string("R1_CUDA_PLUGIN=") + R1_EMULATED_PLUGIN, "TMPDIR=" + top.string(),
                    "PATH=" + (top / "path").string() + ":" + (path == nullptr ? "/usr/bin:/bin" : path)},
                   0, "/usr/bin/env")
        .result();
  }
};

TEST_F(CardScripts, overlap_says_what_it_gains_to_work_at_once_and_how_busy_the_card_was) {
  const ProgramResult r = script("overlap", {"--config", (source_dir() / "tests/e2e/graphs/nano.json").string(), "--groups",
                                             "2", "--samples", "4", "--tokens", "6", "--batches", "4", "--warm", "1"});
  ASSERT_EQ(r.code, 0) << r.out << r.err;
  EXPECT_TRUE(std::regex_search(r.out, std::regex(R"(\n\| batches \| 3 \| 3 \|\n)"))) << r.out;
  EXPECT_TRUE(std::regex_search(r.out, std::regex(R"(\n\| age \| 0\.00 \| 1\.00 \|\n)"))) << r.out;
  EXPECT_TRUE(std::regex_search(r.out, std::regex(R"(\n\| both at once \| 0 % \| [1-9][0-9]* % \|\n)"))) << r.out;
  EXPECT_TRUE(std::regex_search(
      r.out, std::regex(R"(\n[0-9.]+ times staleness 0 \(asked 1\.3\); card busy 73 % \(asked 90 %\), before 73 %; )"
                        R"(at most [0-9.]+ by both at once, 1\.37 by the card's idle time\n$)")))
      << r.out;
}

TEST_F(CardScripts, overlap_that_cannot_measure_ends_with_the_runs_own_words) {
  const ProgramResult r = script("overlap", {"--config", (top / "none.json").string()});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.out.find("not measured: r1-run (staleness 0): "), std::string::npos) << r.out << r.err;
  EXPECT_NE(r.out.find("none.json"), std::string::npos) << r.out;
}

TEST_F(CardScripts, real_run_trains_on_a_card_goes_on_without_it_and_replays_both_parts) {
  std::vector<std::string> arguments = {"--out", (top / "out").string(), "--pretrain", "2", "--batches",
                                        "8",     "--problems",           "4"};
  for (const char* setting :
       {"tiny_100m.config=../tests/e2e/graphs/nano.json", "base_trainer.batch=4", "base_trainer.warmup=1", "trainer.warmup=1",
        "prompts.groups_per_batch=2", "policy.samples=6", "policy.max_tokens=12", "zero_eval.max_tokens=8",
        "judge.rewards=language + 0.01 * think_length", "trainer.min_trained=0", "graph.seed=3"})
    arguments.insert(arguments.end(), {"--set", setting});
  const ProgramResult r = script("real_run", arguments);
  ASSERT_EQ(r.code, 0) << r.out << r.err;
  for (const char* line :
       {R"(\nsecond part, on the CPU: [0-9]+ batches of zero by now, )", R"(\nreward, five batches a figure: [0-9.]+ )",
        R"(\nbase +2 .* equal: batches 0 to 1, by r1 .*; cuda emulated )", R"(\nzero .* equal: .*; cuda emulated )",
        R"(\nzero +[23] .* equal: batches .* \+ cpu )", R"(; replay: every update of all parts is equal\n$)"})
    EXPECT_TRUE(std::regex_search(r.out, std::regex(line))) << line << " in " << r.out;
  for (const char* file : {"report.html", "summary.json", "curves.txt", "r1.log"})
    EXPECT_TRUE(fs::exists(top / "out" / file)) << file;
  EXPECT_FALSE(fs::exists(top / "out/run.db")) << "what comes back is small";
}

TEST_F(CardScripts, real_run_that_cannot_begin_ends_with_the_runs_own_words) {
  const ProgramResult r = script("real_run", {"--out", (top / "out").string(), "--set", "trainer.nonsense=1"});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.out.find("not done: r1-run ended with 2 before it was stopped: "), std::string::npos) << r.out << r.err;
}

}  // namespace
}  // namespace r1
