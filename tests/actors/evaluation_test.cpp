// Evaluators in a stage: what they measure, and what they keep.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "actors/evaluation.h"
#include "actors/training_plan.h"
#include "base/files.h"
#include "models/generation/stop_texts.h"
#include "tasks/tiny/tokenizer_json.h"
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

TEST_F(EvaluationTest, of_the_same_weights_by_another_reward_model_is_another_evaluation) {
  std::string stages;
  for (const std::string n : {"a", "b"})
    stages += "subgraph cluster_model_" + n + " { pairs_" + n +
              " [role=prompter, source=\"tiny:harmless_pairs\", count=8]; rm_" + n +
              " [role=trainer, objective=reward_model, sees=response, epochs=1, batch=8, lr=\"" + (n == "a" ? "1e-3" : "1e-1") +
              "\"]; pairs_" + n + " -> rm_" + n + "; } m -> rm_" + n + ";\n" + "subgraph cluster_" + n + " { text_" + n +
              " [role=prompter, source=\"tiny:pretrain\"]; t_" + n +
              " [role=trainer, objective=pretrain, batch=4, until=\"batches(1)\"]; text_" + n + " -> t_" + n + "; eval_" + n +
              " [role=evaluator, source=\"tiny:reasoning_test\", rewards=rm, problems=4, max_tokens=8]; t_" + n + " -> eval_" +
              n + " [carries=weights]; } m -> t_" + n + "; rm_" + n + " -> eval_" + n + " [as=rm];\n";
  write_file_atomically(
      top / "g.graph",
      "digraph g { graph [precision=f32]; m [kind=model, config=\"nano.json\", tokenizer=tiny];\n" + stages + "}\n");
  LocalRun run(top / "run", {}, (top / "g.graph").string());
  run.run_all(1);
  const auto a = run.store->evaluations(run.id("a")).at(0), b = run.store->evaluations(run.id("b")).at(0);
  EXPECT_EQ(a.moment, "before");
  EXPECT_NE(a.evaluation, b.evaluation);
  EXPECT_EQ(a.evaluation.substr(0, 32), b.evaluation.substr(0, 32)) << "the weights are the same";
  EXPECT_NE(json::parse(a.metrics_json).at("rm"), json::parse(b.metrics_json).at("rm"));
}

std::string evaluation_refusal(const std::filesystem::path& dir, const std::vector<std::string>& settings) {
  try {
    LocalRun run(dir, settings);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input) << e.what();
    return e.what();
  }
  return "accepted";
}

TEST_F(EvaluationTest, an_expression_that_no_held_out_prompt_answers_is_refused) {
  EXPECT_NE(evaluation_refusal(top / "a", {"base_eval.rewards=formal"}).find("did you mean 'format'"), std::string::npos);
  EXPECT_NE(evaluation_refusal(top / "b", {"rm_eval.rewards=format"}).find("the source gives pairs"), std::string::npos);
  EXPECT_EQ(evaluation_refusal(top / "c", {"base_eval.rewards=format * kind_compute"}), "accepted");
  EXPECT_NE(evaluation_refusal(top / "d", {"base_eval.keep_samples=100000"}).find("keep_samples"), std::string::npos);
}

// What the evaluator of the stage base measures with its first weights.
Evaluation measured(const std::filesystem::path& dir, const std::vector<std::string>& settings, std::string* key = nullptr) {
  LocalRun run(dir, settings);
  const NodePlan& node = *run.graph.node("base_eval");
  const EvaluationSpec spec = evaluation_spec(run.env, node);
  if (key != nullptr) *key = spec.key();
  const auto weights = trainer_start_weights(run.env, run.graph, *run.graph.node("base_trainer"));
  return evaluate_model(run.env, spec, {weights, node_tokenizer(run.env, run.graph, node)});
}

TEST_F(EvaluationTest, every_attribute_of_an_evaluator_changes_what_it_samples_and_what_its_results_are_known_by) {
  const auto responses = [](const Evaluation& e) {
    std::string all;
    for (const EvaluatedSource& source : e.kept)
      for (const EvaluatedPrompt& p : source.prompts)
        for (const EvaluatedResponse& r : p.responses) all += r.text + "|";
    return all;
  };
  std::set<std::string> keys, texts, metrics;
  for (const char* setting : {"max_running=256", "top_p=0.2", "temperature=0.4", "max_tokens=9", "stop='a', 'e'",
                              "greedy=false", "keep_samples=3", "keep_samples=0", "source=tiny:general_test", "problems=5"}) {
    std::string key;
    const Evaluation e = measured(top / std::to_string(keys.size()), {std::string("base_eval.") + setting}, &key);
    EXPECT_TRUE(keys.insert(key).second) << setting << " is not in " << key;
    EXPECT_TRUE(texts.insert(responses(e)).second) << setting;
    EXPECT_TRUE(metrics.insert(json(e.metrics).dump()).second || std::string(setting).starts_with("keep_samples")) << setting;
    const std::string kept = setting;
    EXPECT_EQ(e.kept.at(0).prompts.size(), kept == "keep_samples=3"   ? 3u
                                           : kept == "keep_samples=0" ? 0u
                                           : kept == "problems=5"     ? 5u
                                                                      : 8u);
  }
}

TEST_F(EvaluationTest, a_stop_text_ends_what_an_evaluator_samples_and_what_it_scores_and_keeps) {
  const Evaluation e = measured(top / "run", {"base_eval.stop='a', 'e'", "base_eval.rewards=length + format",
                                              "base_eval.keep_samples=20", "base_eval.max_tokens=24"});
  const StopTexts stops(Tokenizer::from_json(tiny_tokenizer_json(), "tiny"), {"a", "e"});
  int ended = 0;
  for (const EvaluatedPrompt& p : e.kept.at(0).prompts)
    for (const EvaluatedResponse& r : p.responses) {
      EXPECT_EQ(stops.kept(r.text), r.text) << "something stands behind the stop text";
      const bool stopped = r.text.ends_with('a') || r.text.ends_with('e');
      ended += stopped;
      EXPECT_TRUE(!stopped || (r.finished && r.tokens < 24)) << r.text;
    }
  EXPECT_GT(ended, 10);
}

TEST_F(EvaluationTest, prompts_that_leave_no_room_in_the_model_are_counted) {
  std::string longest;
  for (int i = 0; i < 3000; ++i) longest += "1 + ";
  const std::string lines = json{{"prompt", "compute 1 + 1"}, {"answer", "2"}}.dump() + "\n" +
                            json{{"prompt", longest}, {"answer", "2"}}.dump() + "\n" +
                            json{{"prompt", longest + "1"}, {"answer", "2"}}.dump() + "\n";
  write_file_atomically(top / "long.jsonl", lines);
  const Evaluation e =
      measured(top / "run", {"base_eval.source=jsonl:" + (top / "long.jsonl").string() + "?template=tiny&shuffle=0"});
  EXPECT_EQ(e.metrics.at("too_long"), 2);
  EXPECT_EQ(e.metrics.at("problems"), 1);
}

}  // namespace
}  // namespace r1
