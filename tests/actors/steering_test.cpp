// Evaluations on the way: what the trainer waits for, what they decide, and that a stop in between changes nothing.
#include "actors/steering.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "models/weights.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

using nlohmann::json;

struct SteeringTest : StageTest {
  // What a run with these settings is told; "accepted".
  std::string refusal(std::vector<std::string> settings) {
    try {
      run("bad", std::move(settings));
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return e.what();
    }
    return "accepted";
  }
  // nano.graph with an evaluator of the RL stage that measures every second version and keeps the best.
  LocalRun run(const std::string& name, std::vector<std::string> settings = {}, const std::string& more = "") {
    const std::filesystem::path graph_dir = nano_graph().parent_path(), file = top / "steered.graph";
    std::string text = read_file(nano_graph());
    const std::string edge = "rl_trainer -> policy    [carries=weights, staleness=0];";
    const size_t at = text.find(edge);
    EXPECT_NE(at, std::string::npos);
    text.insert(at,
                "test [role=evaluator, source=\"tiny:reasoning_test\", every=2, keep=best, rewards=\"0.01 * length\"];\n"
                "    rl_trainer -> test [carries=weights];\n    test -> rl_trainer;\n    " +
                    more);
    const size_t model = text.find("config=\"nano.json\"");
    text.replace(model, 18, "config=\"" + (graph_dir / "nano.json").string() + "\"");
    write_file_atomically(file, text);
    return LocalRun(top / name, settings, file.string());
  }
  static void to_rl(LocalRun& r) {
    for (const char* stage : {"base", "sft"}) ASSERT_TRUE(r.run_stage(stage, 1)) << r.report;
  }
  static std::map<int64_t, double> rewards(LocalRun& r) {
    std::map<int64_t, double> out;
    for (const EvaluationRow& row : r.store->evaluations(r.id("rl")))
      if (row.moment == "during") out[row.version] = json::parse(row.metrics_json).at("reward").get<double>();
    return out;
  }
};

TEST_F(SteeringTest, every_second_version_is_measured_and_the_best_one_is_kept_beside_the_last) {
  LocalRun r = run("run");
  to_rl(r);
  ASSERT_TRUE(r.run_stage("rl", 1)) << r.report;
  const auto measured = rewards(r);
  ASSERT_EQ(measured.size(), 3u);
  int64_t best = 2;
  for (const auto& [version, value] : measured) {
    EXPECT_EQ(version % 2, 0);
    if (value > measured.at(best)) best = version;
  }
  json summary;
  for (const StageRow& row : r.store->stages())
    if (row.name == "rl") summary = json::parse(row.summary_json);
  EXPECT_EQ(summary.at("best").at("version"), best);
  EXPECT_EQ(summary.at("best").at("metric"), "reward");
  EXPECT_DOUBLE_EQ(summary.at("best").at("value").get<double>(), measured.at(best));
  const auto artifact = r.store->artifact(r.id("rl"), "best");
  ASSERT_TRUE(artifact.has_value());
  EXPECT_EQ(artifact->first, "checkpoints/rl-best");
  const auto weights = load_weights(*r.env.device, r.dir / artifact->first, r.env.precision);
  EXPECT_EQ(weights->hash().hex(), r.store->version_hash(r.id("rl"), best));
  if (best != 6) {
    EXPECT_NE(r.hashes().at("rl"), artifact->second);
  }
}

TEST_F(SteeringTest, a_metric_that_nobody_measures_ends_the_stage_that_would_keep_the_best_by_it) {
  LocalRun r = run("run", {"test.metric=accuracy_find", "test.problems=1"});
  to_rl(r);
  r.id("rl");
  LocalScheduler scheduler(r.graph, "rl", *r.store, role_factory(r.env), local_options(r.as_bytes));
  const auto& result = scheduler.run(1'000'000);
  EXPECT_NE(result.outcome, LocalScheduler::Outcome::finished);
  EXPECT_NE(result.report.find("'test' keeps the best version by accuracy_find, which it did not measure"), std::string::npos)
      << result.report;
}

TEST_F(SteeringTest, nothing_is_kept_as_the_best_unless_the_evaluator_says_so) {
  LocalRun r = run("run", {"test.keep=last", "rl_trainer.until=batches(3)"});
  to_rl(r);
  ASSERT_TRUE(r.run_stage("rl", 1)) << r.report;
  EXPECT_FALSE(r.store->artifact(r.id("rl"), "best").has_value());
  EXPECT_FALSE(std::filesystem::exists(r.dir / "checkpoints/rl-best"));
  EXPECT_TRUE(std::filesystem::exists(r.dir / "checkpoints/rl"));
}

TEST_F(SteeringTest, a_stage_stopped_anywhere_ends_with_the_same_weights_and_the_same_best) {
  LocalRun whole = run("whole");
  to_rl(whole);
  ASSERT_TRUE(whole.run_stage("rl", 1)) << whole.report;
  const auto best = whole.store->artifact(whole.id("rl"), "best");
  for (const int64_t steps : {20, 90, 200}) {
    SCOPED_TRACE(steps);
    LocalRun cut = run("cut" + std::to_string(steps));
    to_rl(cut);
    int stops = 0;
    while (!cut.run_stage("rl", 7 + static_cast<uint64_t>(stops), steps + 40 * stops)) ASSERT_LT(++stops, 60) << cut.report;
    EXPECT_GT(stops, 0);
    EXPECT_EQ(cut.hashes(), whole.hashes());
    EXPECT_EQ(cut.store->artifact(cut.id("rl"), "best"), best);
    EXPECT_EQ(rewards(cut), rewards(whole));
    cut.expect_exact_ledgers();
    for (const ReplayedStage& s : replay_run(cut.env, cut.graph, *cut.store, [](const ReplayedStage&) {}))
      EXPECT_TRUE(s.equal) << s.stage << s.note;
  }
}

TEST_F(SteeringTest, until_may_name_what_is_measured_on_the_way) {
  LocalRun r = run("run", {"rl_trainer.until=above(held_out/length, 1, 2) or batches(6)"});
  to_rl(r);
  ASSERT_TRUE(r.run_stage("rl", 1)) << r.report;
  EXPECT_EQ(r.store->batch_count(r.id("rl")), 4) << "two measurements, at versions 2 and 4";
}

TEST_F(SteeringTest, of_equal_versions_the_earlier_is_the_best_and_a_version_without_the_metric_is_none) {
  LocalRun r = run("run", {"test.metric=accuracy"});
  Steering s(r.graph, r.graph.node("test")->stage);
  ASSERT_TRUE(s.any());
  EXPECT_FALSE(s.best().has_value());
  s.note("test", 2, {{"length", 9}});
  EXPECT_FALSE(s.best().has_value());
  s.note("test", 4, {{"accuracy", 0.5}});
  s.note("test", 6, {{"accuracy", 0.5}});
  EXPECT_EQ(s.best()->version, 4);
  s.note("test", 7, {{"accuracy", 0.75}});
  EXPECT_EQ(s.best()->version, 7);
  EXPECT_EQ(s.series().at("accuracy"), (std::vector<double>{0.5, 0.5})) << "the last version is none of the series";
  EXPECT_TRUE(s.due(7, true).empty());
  EXPECT_TRUE(s.due(0, true).empty());
  EXPECT_EQ(s.due(8, false).size(), 1u);
  EXPECT_EQ(s.due(9, false).size(), 0u);
  EXPECT_EQ(s.due(9, true).size(), 1u);
}

TEST_F(SteeringTest, what_cannot_steer_is_refused) {
  EXPECT_EQ(refusal({}), "accepted");
  EXPECT_NE(refusal({"test.every=0"}).find("has nothing to tell"), std::string::npos);
  EXPECT_NE(refusal({"base_eval.every=4"}).find("add: base_eval -> base_trainer;"), std::string::npos);
  EXPECT_NE(refusal({"base_eval.keep=best"}).find("every=20"), std::string::npos);
  EXPECT_NE(refusal({"test.keep=last", "test.metric=accuracy"}).find("none is kept"), std::string::npos);
  EXPECT_NE(refusal({"test.metric=acuracy"}).find("'test' does not measure 'acuracy' (did you mean 'accuracy'?)"),
            std::string::npos);
  EXPECT_NE(refusal({"test.metric=reward", "test.rewards="}).find("'test' does not measure 'reward'"), std::string::npos);
  EXPECT_EQ(refusal({"test.metric=accuracy_compute"}), "accepted") << "a kind of the prompts";
  EXPECT_NE(
      refusal({"rl_trainer.until=above(held_out/accuracy, 1) or batches(9)"}).find("'held_out/accuracy' lies between 0 and 1"),
      std::string::npos);
  EXPECT_EQ(refusal({"rl_trainer.until=above(held_out/accuracy, 0.5, 3) or batches(6)"}), "accepted");
  EXPECT_NE(refusal({"rl_trainer.until=above(held_out/acuracy, 1) or batches(2)"}).find("held_out/accuracy"),
            std::string::npos);
  EXPECT_NE(refusal({"base_trainer.until=above(held_out/accuracy, 1) or batches(2)"}).find("held_out"), std::string::npos);
}

TEST_F(SteeringTest, a_metric_that_no_evaluator_can_measure_is_refused_with_what_would_measure_it) {
  const auto until = [](const char* metric) { return fmt::format("rl_trainer.until=above({}, 0.5) or batches(6)", metric); };
  const auto has = [](const std::string& text, const std::vector<std::string>& words) {
    for (const std::string& word : words) EXPECT_NE(text.find(word), std::string::npos) << word << " in: " << text;
  };
  has(refusal({until("held_out/cons")}),
      {"until: 'held_out/cons' is never measured: 'test' takes one sample", "samples=4 on 'test', or accuracy"});
  EXPECT_EQ(refusal({until("held_out/cons"), "test.samples=2"}), "accepted");
  has(refusal({until("held_out/accuracy_greedy"), "test.greedy=false"}),
      {"'held_out/accuracy_greedy' is never measured: 'test' has no pass with argmax", "greedy=true on 'test', or accuracy"});
  EXPECT_EQ(refusal({until("held_out/accuracy_greedy")}), "accepted");
  has(refusal({until("held_out/pair_accuracy")}), {"'test' asks prompts, and is given no pairs"});
  has(refusal({until("held_out/helpful")}), {"no prompt of 'test' is of domain \"general\""});
  has(refusal({until("held_out/accuracy"), "test.source=tiny:general_test"}),
      {"no prompt of 'test' is of another domain than \"general\"", "general_accuracy"});
  EXPECT_EQ(refusal({until("held_out/helpful"), "test.source=tiny:general_test"}), "accepted");
  has(refusal({"test.metric=cons"}),
      {"'test' keeps the best version by cons, which it will not measure: 'test' takes one sample", "samples=4"});
  has(refusal({"test.metric=accuracy_greedy", "test.greedy=false"}), {"has no pass with argmax"});
  has(refusal({"test.metric=accuracy_conpute"}), {"no prompt of 'test' is of kind \"conpute\"", "kinds are "});
  has(refusal({"test.metric=test/accuracy"}), {"there is no part 'test' of what is asked", "accuracy"});
  has(refusal({"test.rewards=", "test.source=tiny:general_test"}), {"by accuracy or pair_accuracy, which it will not measure"});
  EXPECT_EQ(refusal({"test.metric=reasoning_test/accuracy", "test.source=tiny:reasoning_test,tiny:reasoning"}), "accepted");
}

TEST_F(SteeringTest, a_name_of_until_that_all_evaluators_answered_without_ends_the_stage) {
  LocalRun r = run("run");
  Steering s(r.graph, r.graph.node("test")->stage);
  const NodePlan& trainer = *r.graph.node("rl_trainer");
  EXPECT_NO_THROW(s.check_names(trainer, {"held_out/part"})) << "nothing was measured yet";
  s.note("test", 2, {{"accuracy", 0.5}});
  EXPECT_NO_THROW(s.check_names(trainer, {"held_out/accuracy", "reward"}));
  try {
    s.check_names(trainer, {"held_out/part"});
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    EXPECT_NE(std::string(e.what()).find("until: 'held_out/part' was not measured (measured were accuracy)"), std::string::npos)
        << e.what();
  }
}

TEST_F(SteeringTest, the_trainer_waits_for_every_evaluator_whoever_is_slow) {
  for (const char* slow : {"", "test", "other"}) {
    SCOPED_TRACE(slow);
    LocalRun r =
        run(std::string("run") + slow, {"rl_trainer.until=below(held_out/general_accuracy, 2, 1) or batches(6)"},
            "other [role=evaluator, source=\"tiny:general_test\", every=3];\n    rl_trainer -> other [carries=weights];\n"
            "    other -> rl_trainer;\n    ");
    to_rl(r);
    ASSERT_TRUE(r.run_stage("rl", 1, 1'000'000, slow)) << r.report;
    EXPECT_EQ(r.store->batch_count(r.id("rl")), 3) << "the other one has measured";
  }
  LocalRun both =
      run("both", {"rl_trainer.until=below(held_out/general_accuracy, 2, 1) or batches(6)"},
          "other [role=evaluator, source=\"tiny:general_test\", every=2];\n    rl_trainer -> other [carries=weights];\n"
          "    other -> rl_trainer;\n    ");
  to_rl(both);
  ASSERT_TRUE(both.run_stage("rl", 1, 1'000'000, "other")) << both.report;
  EXPECT_EQ(both.store->batch_count(both.id("rl")), 2) << "both measure version 2, and the slow one decides";
}

TEST_F(SteeringTest, an_evaluator_whose_answer_is_lost_is_named_with_who_waits_for_it) {
  LocalRun r = run("run");
  to_rl(r);
  LocalOptions options = local_options();
  options.faults = "drop:test->rl_trainer:1";
  const int64_t stage_id = r.id("rl");
  LocalScheduler scheduler(r.graph, "rl", *r.store, role_factory(r.env), options);
  const auto& result = scheduler.run();
  EXPECT_NE(result.outcome, LocalScheduler::Outcome::finished);
  for (const char* word : {"rl_trainer", "test -> rl_trainer", "message 1"})
    EXPECT_NE(result.report.find(word), std::string::npos) << result.report;
  EXPECT_EQ(r.store->batch_count(stage_id), 2) << "nothing was learned past a measurement that did not come";
}

}  // namespace
}  // namespace r1
