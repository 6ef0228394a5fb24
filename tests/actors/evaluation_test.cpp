// Evaluators in a stage: what they measure, and what they keep.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

using nlohmann::json;

struct EvaluationTest : StageTest {
  std::string file(const std::string& name, const std::string& domain, int prompts) {
    std::string lines;
    for (int i = 0; i < prompts; ++i)
      lines += json{{"prompt", "compute " + std::to_string(i) + " + 1"}, {"answer", std::to_string(i + 1)}, {"domain", domain}}
                   .dump() +
               "\n";
    write_file_atomically(top / name, lines);
    return "jsonl:" + (top / name).string() + "?template=tiny";
  }
};

TEST_F(EvaluationTest, rewards_of_an_evaluator_are_measured_before_and_after_and_its_responses_kept) {
  LocalRun run(top / "run",
               {"base_eval.source=" + file("a.jsonl", "sums", 6) + ", " + file("b.jsonl", "more", 3),
                "base_eval.rewards=0.5 * format + 0.01 * length", "base_eval.keep_samples=2", "base_eval.greedy=true"});
  ASSERT_TRUE(run.run_stage("base", 1)) << run.report;
  for (const char* moment : {"before", "after"}) {
    SCOPED_TRACE(moment);
    const json m = json::parse(run.held_out("base", moment));
    EXPECT_NEAR(m.at("reward").get<double>(), 0.5 * m.at("format").get<double>() + 0.01 * m.at("length").get<double>(), 1e-9);
    EXPECT_EQ(m.at("problems"), 9);
    EXPECT_EQ(m.at("sums/problems"), 6);
    EXPECT_EQ(m.at("more/problems"), 3);
    EXPECT_TRUE(m.contains("a/accuracy"));
    EXPECT_TRUE(m.contains("b/accuracy"));
  }
  const auto evaluations = run.store->evaluations(run.id("base"));
  ASSERT_EQ(evaluations.size(), 2u);
  EXPECT_EQ(evaluations[0].version, 0);
  EXPECT_EQ(evaluations[1].version, 12);
  for (const EvaluationRow& e : evaluations) {
    const auto kept = run.store->responses(e.evaluation);
    ASSERT_EQ(kept.size(), 8u) << "two prompts of each source, sampled and greedy";
    for (const ResponseRow& r : kept) {
      EXPECT_TRUE(r.text.starts_with("<bos>")) << r.text;
      EXPECT_TRUE(r.reward.has_value());
      EXPECT_TRUE(r.correct.has_value());
      const json parts = json::parse(r.scores_json);
      EXPECT_EQ(parts.at("length"), r.tokens);
    }
  }
  const json summary = json::parse(run.store->stages().at(0).summary_json);
  EXPECT_EQ(summary.at("held_out_rewards"), (json{"reward", "format", "length"}));
  EXPECT_TRUE(summary.at("metrics").at("after").contains("reward"));
}

TEST_F(EvaluationTest, what_one_stage_measured_at_its_end_the_next_shows_at_its_beginning) {
  LocalRun run(top / "run", {});
  ASSERT_TRUE(run.run_stage("base", 1)) << run.report;
  const auto after = run.store->evaluations(run.id("base")).at(1);
  EXPECT_FALSE(run.store->responses(after.evaluation).empty());
  EXPECT_EQ(run.store->known_evaluation(after.evaluation), after.metrics_json);
}

std::string refusal(const std::filesystem::path& dir, const std::vector<std::string>& settings) {
  try {
    LocalRun run(dir, settings);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input) << e.what();
    return e.what();
  }
  return "accepted";
}

TEST_F(EvaluationTest, an_expression_that_no_held_out_prompt_answers_is_refused) {
  EXPECT_NE(refusal(top / "a", {"base_eval.rewards=formal"}).find("did you mean 'format'"), std::string::npos);
  EXPECT_NE(refusal(top / "b", {"rm_eval.rewards=format"}).find("the source gives pairs"), std::string::npos);
  EXPECT_EQ(refusal(top / "c", {"base_eval.rewards=format * kind_compute"}), "accepted");
  EXPECT_NE(refusal(top / "d", {"base_eval.keep_samples=100000"}).find("keep_samples"), std::string::npos);
}

}  // namespace
}  // namespace r1
