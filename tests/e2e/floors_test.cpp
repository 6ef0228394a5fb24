// What the main job has to show. Looks at the run that `tools/setup test` has just made (R1_MAIN_JOB); skipped without one.
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "tests/e2e/program.h"

namespace r1 {
namespace {

using nlohmann::json;

struct MainJob : ::testing::Test {
  std::filesystem::path dir;
  json summary;
  void SetUp() override {
    const char* given = std::getenv("R1_MAIN_JOB");
    if (given == nullptr) GTEST_SKIP() << "set R1_MAIN_JOB to the directory of a finished run of graphs/r1_full.graph";
    dir = given;
    summary = json::parse(read_file(dir / "summary.json"));
  }
  const json& stage(const std::string& name) {
    for (const json& s : summary["stages"])
      if (s["name"] == name) return s;
    throw std::runtime_error("no stage " + name);
  }
  double after(const std::string& name, const char* metric) { return stage(name)["metrics"]["after"][metric]; }
  double before(const std::string& name, const char* metric) { return stage(name)["metrics"]["before"][metric]; }
};

TEST_F(MainJob, runs_every_stage_and_measures_it_on_1500_held_out_problems) {
  EXPECT_EQ(summary["stages"].size(), 15u);
  for (const char* name : {"base", "cold_start", "rl1", "sft", "rl2"}) EXPECT_GE(after(name, "problems"), 1500) << name;
}

TEST_F(MainJob, cold_start_raises_format_by_at_least_0_4) {
  EXPECT_GE(after("cold_start", "format") - before("cold_start", "format"), 0.4);
}

TEST_F(MainJob, reasoning_rl_reaches_its_floors) {
  EXPECT_GE(after("rl1", "accuracy"), 0.75);
  EXPECT_GE(after("rl1", "accuracy") - before("rl1", "accuracy"), 0.25);
  EXPECT_GE(after("rl1", "format"), 0.98);
  EXPECT_GE(after("rl1", "language"), 0.97);
}

TEST_F(MainJob, sft_from_the_base_is_within_eight_points_of_rl_1) {
  EXPECT_GE(after("sft", "accuracy"), after("rl1", "accuracy") - 0.08);
}

TEST_F(MainJob, rl_2_is_harmless_more_helpful_and_still_reasons) {
  EXPECT_GE(after("rl2", "harmless"), 0.95);
  EXPECT_GT(after("rl2", "helpful"), before("rl2", "helpful"));
  EXPECT_GE(after("rl2", "accuracy"), before("rl2", "accuracy") - 0.05);
}

TEST_F(MainJob, each_distilled_student_beats_its_twin_trained_by_rl_alone_by_ten_points) {
  for (const std::string student : {"qwen", "llama"})
    EXPECT_GE(after(student + "_distill", "accuracy"), after(student + "_rl", "accuracy") + 0.10) << student;
}

TEST_F(MainJob, log_probabilities_agree_to_the_bit_over_at_least_1000_tokens_of_every_rl_stage) {
  for (const char* name : {"rl1", "rl2", "qwen_rl", "llama_rl"}) {
    EXPECT_EQ(stage(name)["logprob_gap_max"].get<double>(), 0) << name;
    EXPECT_GE(stage(name)["logprob_gap_tokens"].get<int64_t>(), 1000) << name;
    EXPECT_LE(stage(name)["staleness_max"].get<double>(), 1) << name;
  }
}

TEST_F(MainJob, every_draw_ended_exactly_once) { EXPECT_EQ(ledger_complaints(dir), ""); }

}  // namespace
}  // namespace r1
