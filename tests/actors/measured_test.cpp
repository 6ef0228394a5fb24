// What was not measured is absent, what could not be computed is counted and ends the run, and what the store's statistics and
// summaries say is what its rows give when they are looked at another way.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "actors/batch_statistics.h"
#include "actors/codec.h"
#include "actors/evaluation.h"
#include "actors/metric_table.h"
#include "actors/scorer.h"
#include "actors/training_plan.h"
#include "actors/until_checks.h"
#include "base/files.h"
#include "models/forwarding_engines.h"
#include "models/generation/generator_engine.h"
#include "tasks/source.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

using nlohmann::json;

// Truncated completions (24 tokens) have no reward: length / 0.
const std::string kFailsWhenTruncated = "judge.rewards=length / (length < 24)";

struct MeasuredTest : StageTest {
  // The stages before `rl`.
  static void start(LocalRun& run) {
    for (const char* stage : {"base", "sft"})
      if (!run.done(stage)) {
        ASSERT_TRUE(run.run_stage(stage, 1)) << run.report;
      }
  }
  static LocalScheduler::Result run_rl(LocalRun& run) {
    LocalScheduler scheduler(run.graph, "rl", *run.store, role_factory(run.env), local_options());
    return scheduler.run();
  }
  static std::vector<json> batches(LocalRun& run, const std::string& stage) {
    std::vector<json> out;
    for (const auto& [version, text] : run.store->batch_stats(run.id(stage))) out.push_back(json::parse(text));
    return out;
  }
};

int64_t sampled_tokens(const Sequence& s) { return std::count(s.trainable.begin(), s.trainable.end(), uint8_t{1}); }

TEST_F(MeasuredTest, a_reward_that_always_fails_ends_the_run_at_its_first_batch_and_again_when_continued) {
  const std::vector<std::string> settings = {"judge.rewards=1 / (length - length)"};
  int64_t batches_before = 1;
  for (int attempt = 0; attempt < 2; ++attempt) {
    LocalRun run(top / "run", settings);
    start(run);
    const auto result = run_rl(run);
    ASSERT_EQ(result.outcome, LocalScheduler::Outcome::failed) << result.report;
    EXPECT_NE(result.report.find("1 / (length - length)"), std::string::npos) << result.report;
    EXPECT_NE(result.report.find("4 of 4 groups"), std::string::npos) << result.report;
    EXPECT_NE(result.report.find("prompt \"<bos>"), std::string::npos) << result.report;
    EXPECT_EQ(run.store->batch_count(run.id("rl")), batches_before);
    const auto events = run.store->events(run.id("rl"), 100, "reward_error");
    ASSERT_EQ(events.size(), 1u) << "the first one, once";
    const json event = json::parse(events[0][2]);
    EXPECT_EQ(event["expression"], "1 / (length - length)");
    EXPECT_EQ(event["draw"], 0);
    EXPECT_FALSE(event["prompt"].get<std::string>().empty());
    EXPECT_TRUE(event.contains("completion"));
    const json stats = batches(run, "rl").at(0);
    EXPECT_FALSE(stats.contains("reward"));
    EXPECT_EQ(stats["missing"]["reward"], 16);
    EXPECT_EQ(stats["reward_errors"], 4);
    EXPECT_TRUE(stats.contains("format"));
  }
}

TEST_F(MeasuredTest, more_errors_than_the_judge_bears_end_the_run_and_fewer_do_not) {
  LocalRun strict(top / "strict", {kFailsWhenTruncated});
  start(strict);
  EXPECT_EQ(run_rl(strict).outcome, LocalScheduler::Outcome::failed);
  LocalRun patient(top / "patient", {kFailsWhenTruncated, "judge.max_reward_errors=1"});
  start(patient);
  EXPECT_EQ(run_rl(patient).outcome, LocalScheduler::Outcome::finished);
  EXPECT_EQ(patient.store->check_ledger(patient.id("rl"), true), "");
}

// The store's rows say what every statistic and every end of a draw has to be.
TEST_F(MeasuredTest, statistics_are_over_all_completions_that_have_a_value_and_groups_with_errors_are_never_trained) {
  LocalRun run(top / "run", {kFailsWhenTruncated, "judge.max_reward_errors=1", "policy.samples=2"});
  start(run);
  ASSERT_EQ(run_rl(run).outcome, LocalScheduler::Outcome::finished);
  const int64_t id = run.id("rl");
  EXPECT_EQ(run.store->check_ledger(id, true), "");
  const auto stats = batches(run, "rl");
  const auto resolutions = run.store->resolutions(id);
  int64_t failed = 0, sound = 0;
  for (size_t v = 0; v < stats.size(); ++v) {
    double rewards = 0, lengths = 0, formats = 0;
    int64_t completions = 0, missing = 0, errors = 0, kept = 0;
    std::set<int64_t> trained;
    for (const auto& item : decode_batch(run.store->batch(id, static_cast<int64_t>(v)).payload).items)
      trained.insert(item.draw);
    for (int64_t draw = static_cast<int64_t>(v) * 4; draw < static_cast<int64_t>(v + 1) * 4; ++draw) {
      const Resolution& r = resolutions.at(static_cast<size_t>(draw));
      bool error = false;
      for (const TrajectoryRow& row : run.store->trajectories(id, draw)) {
        const int64_t length = sampled_tokens(decode_sequence(row.payload));
        ASSERT_EQ(row.reward.has_value(), length < 24) << draw;
        if (row.reward) {
          EXPECT_EQ(*row.reward, static_cast<double>(length));
          rewards += *row.reward;
        }
        error = error || !row.reward;
        missing += !row.reward;
        lengths += static_cast<double>(length);
        formats += json::parse(row.scores_json).at("format").get<double>();
        ++completions;
      }
      EXPECT_EQ(r.reason == "reward_error", error) << draw;
      if (error) {
        EXPECT_EQ(trained.count(draw), 0u) << draw;
      }
      errors += error;
      kept += r.reason.empty();
    }
    const json& s = stats[v];
    ASSERT_EQ(completions, 8);
    EXPECT_EQ(s["completions"], completions);
    EXPECT_EQ(s["reward_errors"], errors);
    EXPECT_EQ(s["kept"], kept);
    EXPECT_EQ(s["dropped"], 4 - kept);
    EXPECT_DOUBLE_EQ(s["length"].get<double>(), lengths / 8);
    EXPECT_DOUBLE_EQ(s["format"].get<double>(), formats / 8);
    ASSERT_EQ(s.contains("reward"), missing < 8);
    if (missing < 8) {
      EXPECT_DOUBLE_EQ(s["reward"].get<double>(), rewards / static_cast<double>(8 - missing));
    }
    if (missing > 0) {
      EXPECT_EQ(s["missing"]["reward"], missing);
    }
    failed += errors;
    sound += 4 - errors;
  }
  EXPECT_GT(failed, 0) << "the test is vacuous: nothing failed";
  EXPECT_GT(sound, 0) << "the test is vacuous: everything failed";
}

TEST_F(MeasuredTest, until_does_not_fire_on_a_batch_with_errors) {
  for (const bool errors : {false, true}) {
    LocalRun run(top / (errors ? "errors" : "sound"),
                 {errors ? kFailsWhenTruncated : "judge.rewards=length", "judge.max_reward_errors=1", "policy.samples=8",
                  "rl_trainer.until=above(format, -1, 2) or batches(5)"});
    start(run);
    ASSERT_EQ(run_rl(run).outcome, LocalScheduler::Outcome::finished);
    int64_t sound = 0;
    const auto stats = batches(run, "rl");
    for (const json& s : stats) sound += s["reward_errors"] == 0;
    if (errors) {
      EXPECT_EQ(sound, 0) << "every batch should have an error";
      EXPECT_EQ(stats.size(), 5u);
    } else {
      EXPECT_EQ(stats.size(), 2u);
    }
  }
}

TEST_F(MeasuredTest, a_batch_that_trained_nothing_has_no_loss_no_entropy_and_no_age) {
  LocalRun run(top / "run", {"judge.rewards=length - length", "rl_trainer.until=below(entropy, 1000) or batches(3)"});
  start(run);
  ASSERT_EQ(run_rl(run).outcome, LocalScheduler::Outcome::finished);
  const auto stats = batches(run, "rl");
  ASSERT_EQ(stats.size(), 3u) << "until fired on what no batch had";
  for (const json& s : stats) {
    for (const BatchMetric& m : batch_metrics())
      if (m.trained) {
        EXPECT_FALSE(s.contains(m.name)) << m.name << " " << s;
      }
    EXPECT_EQ(s["trained_tokens"], 0);
    EXPECT_EQ(s["reward"], 0);
    EXPECT_GT(s["length"], 0);
  }
  const json summary = json::parse(stage_summary(run.graph, *run.graph.stage("rl"), *run.store, run.id("rl"), StageTimes{}, 1));
  EXPECT_FALSE(summary.contains("staleness_max"));
}

TEST_F(MeasuredTest, a_running_stage_is_shown_by_what_its_judge_asks_for) {
  const auto asked = [&](const std::string& rewards) {
    const LocalRun run(top / "run", {"judge.rewards=" + rewards});
    return asked_names(run.graph, run.graph.node("judge")->stage);
  };
  EXPECT_EQ(asked("format * (0.2 * language + accuracy)"), (std::vector<std::string>{"accuracy", "format", "language"}));
  EXPECT_EQ(asked("math + 0.1 * regex('a')"), (std::vector<std::string>{"math", "regex('a')"}));
  EXPECT_EQ(asked("if(kind_compute, length, 1)"), (std::vector<std::string>{"length"}));
}

TEST_F(MeasuredTest, a_reference_measures_at_the_temperature_that_is_sampled_at) {
  // Before anything was learned the policy is its own reference: nothing lies between them, to the bit.
  LocalRun run(top / "run", {"policy.temperature=0.5", "judge.rewards=length", "rl_trainer.mini_batches=1"});
  start(run);
  ASSERT_TRUE(run.run_stage("rl", 1)) << run.report;
  EXPECT_EQ(batches(run, "rl").at(0).at("kl"), 0);
  EXPECT_GT(batches(run, "rl").at(1).at("kl"), 0);
}

TEST_F(MeasuredTest, kl_is_measured_with_a_reference_and_pair_accuracy_of_reward_models) {
  LocalRun run(top / "run", {});
  run.run_all(1);
  for (const auto& [stage, names] : std::map<std::string, std::set<std::string>>{{"base", {}},
                                                                                 {"sft", {}},
                                                                                 {"rl", {"kl", "entropy", "age"}},
                                                                                 {"reward", {"pair_accuracy"}},
                                                                                 {"rl2", {"entropy", "age"}}}) {
    std::set<std::string> seen;
    const NodePlan& trainer = *stage_trainer(run.graph, static_cast<int>(run.graph.stage(stage) - run.graph.stages.data()));
    const auto allowed = trainer_metrics(run.graph, trainer);
    for (const json& s : batches(run, stage))
      for (const auto& [name, value] : s.items()) {
        if (!value.is_number()) continue;
        seen.insert(name);
        EXPECT_TRUE(std::find(allowed.begin(), allowed.end(), name) != allowed.end())
            << stage << ": recorded, but until may not name " << name;
      }
    for (const char* name : {"kl", "entropy", "age", "pair_accuracy"})
      EXPECT_EQ(seen.count(name), names.count(name)) << stage << " " << name;
  }
  // Every name of the expression is recorded.
  for (const json& s : batches(run, "rl"))
    for (const char* name : {"format", "language", "think_length"}) EXPECT_TRUE(s.contains(name)) << name;
  bool asked = false;
  for (const json& s : batches(run, "rl2")) {
    EXPECT_TRUE(s.contains("harm"));
    asked = asked || s.contains("harmless_rm");
  }
  EXPECT_TRUE(asked);
}

TEST_F(MeasuredTest, the_age_of_a_batch_and_the_summary_s_staleness_are_those_of_the_stored_tokens) {
  LocalRun run(top / "run", {"edge.staleness=2", "rl_trainer.until=batches(12)"});
  start(run);
  ASSERT_TRUE(run.run_stage("rl", 5)) << run.report;
  const int64_t id = run.id("rl");
  const auto stats = batches(run, "rl");
  int64_t oldest = -1, steps = 0, tokens = 0;
  for (size_t v = 0; v < stats.size(); ++v) {
    int64_t most = -1, sequences = 0;
    double sum = 0;
    for (const Sequence& s : stored_batch(*run.store, id, static_cast<int64_t>(v)).sequences) {
      int64_t age = 0;
      for (size_t i = 0; i < s.tokens.size(); ++i)
        if (s.trainable[i]) age = std::max(age, static_cast<int64_t>(v) - s.version[i]);
      most = std::max(most, age);
      sum += static_cast<double>(age);
      tokens += static_cast<int64_t>(s.tokens.size());
      ++sequences;
    }
    ++steps;
    ASSERT_EQ(stats[v].contains("age_max"), sequences > 0);
    if (sequences == 0) continue;
    EXPECT_EQ(stats[v]["age_max"], most) << v;
    EXPECT_DOUBLE_EQ(stats[v]["age"].get<double>(), sum / static_cast<double>(sequences)) << v;
    oldest = std::max(oldest, most);
  }
  EXPECT_GT(oldest, 0) << "the test is vacuous: nothing was stale";
  for (const StageRow& row : run.store->stages()) {
    if (row.name != "rl") continue;
    const json summary = json::parse(row.summary_json);
    EXPECT_EQ(summary["staleness_max"], oldest);
    EXPECT_EQ(summary["steps"], steps);
    EXPECT_EQ(summary["tokens_trained"], tokens);
    int64_t trained = 0, errors = 0;
    for (const Resolution& r : run.store->resolutions(id)) trained += r.batch >= 0, errors += r.reason == "reward_error";
    EXPECT_EQ(summary["trained"], trained);
    EXPECT_EQ(summary["dropped"].value("reward_error", int64_t{0}), errors);
  }
}

// A filter in front of a dataset counts and ends by the same rule, whether the judge or its own `keep` fails.
TEST_F(MeasuredTest, a_dataset_filter_counts_errors_of_the_judge_and_of_its_own_expression) {
  for (const char* setting : {"rs_judge.rewards=1 / (length - length)", "rs_filter.keep=1 / (length - length)"}) {
    LocalRun run(top / std::string(setting).substr(0, 9), {setting});
    for (const char* stage : {"base", "sft", "rl"}) ASSERT_TRUE(run.run_stage(stage, 1));
    LocalScheduler scheduler(run.graph, "rejection", *run.store, role_factory(run.env), local_options());
    const auto& result = scheduler.run();
    ASSERT_EQ(result.outcome, LocalScheduler::Outcome::failed) << result.report;
    EXPECT_NE(result.report.find("1 / (length - length)"), std::string::npos) << result.report;
    EXPECT_EQ(run.store->ledger(run.id("rejection")).dropped["reward_error"], 8);
  }
}

TEST_F(MeasuredTest, a_dataset_holds_what_was_kept_of_every_batch_in_their_order) {
  LocalRun run(top / "run", {"rs_judge.rewards=length", "rs_filter.keep=length >= 0"});
  for (const char* stage : {"base", "sft", "rl", "rejection"}) ASSERT_TRUE(run.run_stage(stage, 1)) << run.report;
  const int64_t id = run.id("rejection");
  std::string lines;
  int64_t kept = 0;
  ASSERT_EQ(run.store->batch_count(id), 3);
  for (int64_t v = 0; v < 3; ++v) lines += run.store->batch(id, v).payload;
  for (const json& b : batches(run, "rejection")) kept += b.at("kept").get<int64_t>();
  EXPECT_EQ(kept, 40) << "two of each prompt";
  const std::string file = read_file(top / "run/datasets/rejection.jsonl");
  EXPECT_EQ(std::count(file.begin(), file.end(), '\n'), kept);
  EXPECT_EQ(file, lines);
  EXPECT_EQ(run.store->artifact(id, "dataset")->second, hash_string(file).hex());
}

TEST_F(MeasuredTest, prompts_without_answers_and_courtesy_measure_neither_accuracy_nor_helpfulness) {
  write_file_atomically(top / "hello.jsonl", "{\"prompt\": \"hello\"}\n{\"prompt\": \"hi\"}\n");
  LocalRun run(top / "run",
               {"base_eval.source=jsonl:" + (top / "hello.jsonl").string() + "?template=tiny", "base_eval.samples=2"});
  ASSERT_TRUE(run.run_stage("base", 1)) << run.report;
  const json after = json::parse(run.held_out("base", "after"));
  for (const char* name : {"helpful", "general_accuracy", "accuracy", "accuracy_greedy", "general_accuracy_greedy", "cons",
                           "courtesy", "harmless", "over_refusal", "pair_accuracy"})
    EXPECT_FALSE(after.contains(name)) << name << ": " << after;
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

TEST_F(MeasuredTest, a_fact_used_as_a_number_is_0_or_1_where_it_is_and_0_where_it_is_not) {
  const std::string file = (top / "d.jsonl").string(), source = "prompts.source=jsonl:" + file + "?template=tiny";
  std::string lines;
  for (int i = 0; i < 8; ++i)
    lines += "{\"prompt\": \"compute 1 + 1\", \"answer\": \"2\", \"level\": " + std::to_string(i) + "}\n";
  write_file_atomically(file, lines);
  LocalRun numbers(top / "numbers", {source, "judge.rewards=level + length - length"});
  start(numbers);
  const auto result = run_rl(numbers);
  EXPECT_EQ(result.outcome, LocalScheduler::Outcome::failed);
  EXPECT_NE(result.report.find("and as a number a fact is 0 or 1"), std::string::npos) << result.report;
  lines = "{\"prompt\": \"compute 1 + 1\", \"answer\": \"2\", \"level\": 1}\n";
  for (int i = 0; i < 7; ++i) lines += "{\"prompt\": \"compute 1 + 1\", \"answer\": \"2\"}\n";
  write_file_atomically(file, lines);
  LocalRun run(top / "run", {source, "judge.rewards=level + 0.01 * length", "rl_trainer.until=batches(2)"});
  start(run);
  ASSERT_EQ(run_rl(run).outcome, LocalScheduler::Outcome::finished);
  EXPECT_EQ(run.store->ledger(run.id("rl")).dropped["reward_error"], 0);
  double level = 0;
  for (const json& s : batches(run, "rl")) level += s.at("level").get<double>() / 2;
  EXPECT_DOUBLE_EQ(level, 1.0 / 8);
}

// Real engines, but for the frozen model that a node's audit asks: its log-probabilities are a bit too low.
struct AuditedByOthers final : ForwardingEngines {
  using ForwardingEngines::ForwardingEngines;
  std::unique_ptr<FrozenModel> frozen(const std::string& node, std::shared_ptr<const WeightSet> weights) const override {
    struct Lower final : FrozenModel {
      std::unique_ptr<FrozenModel> model;
      void set_weights(std::shared_ptr<const WeightSet> w) override { model->set_weights(std::move(w)); }
      std::vector<std::vector<float>> logprobs(const std::vector<Sequence>& sequences, double temperature) override {
        auto out = model->logprobs(sequences, temperature);
        for (auto& values : out) values.back() = std::nextafter(values.back(), -1e30f);
        return out;
      }
      std::vector<float> scores(const std::vector<std::vector<int32_t>>& sequences) override {
        return model->scores(sequences);
      }
    };
    auto model = inner_->frozen(node, std::move(weights));
    if (node != "policy") return model;
    auto lower = std::make_unique<Lower>();
    lower->model = std::move(model);
    return lower;
  }
};

TEST_F(MeasuredTest, what_is_sampled_is_audited_with_another_engine_and_one_bit_of_difference_ends_the_run) {
  LocalRun run(top / "run", {"judge.rewards=length"});
  start(run);
  ASSERT_TRUE(run.run_stage("rl", 1)) << run.report;
  int64_t audited = 0, trained = 0;
  for (const MetricRow& m : run.store->metrics(run.id("rl"), "logprob_audit_tokens")) audited += static_cast<int64_t>(m.value);
  for (const json& b : batches(run, "rl")) trained += b.value("logprob_gap_tokens", int64_t{0});
  EXPECT_GT(audited, 500);
  EXPECT_GT(trained, 500);
  const json summary = json::parse(stage_summary(run.graph, *run.graph.stage("rl"), *run.store, run.id("rl"), {}, 1));
  EXPECT_EQ(summary.at("logprob_gap_tokens"), audited + trained);

  LocalRun other(top / "other", {"judge.rewards=length"});
  start(other);
  other.env.engines = std::make_shared<AuditedByOthers>(other.env.engines);
  const auto result = run_rl(other);
  ASSERT_EQ(result.outcome, LocalScheduler::Outcome::failed) << result.report;
  EXPECT_NE(result.report.find("draw"), std::string::npos) << result.report;
  EXPECT_NE(result.report.find("version 0"), std::string::npos) << result.report;
}

TEST_F(MeasuredTest, until_names_what_no_prompt_has_and_is_refused) {
  const auto refused = [&](const std::string& until, const FactValues& facts) -> std::string {
    LocalRun run(top / "run", {"rl2_trainer.until=" + until});  // tiny:all_scenarios has every kind of prompt
    try {
      check_until_facts(run.graph, *run.graph.node("rl2_trainer"), facts);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return e.message();
    }
    return "accepted";
  };
  const FactValues chat = {{"checkable", {"0"}}, {"harm", {"0"}}, {"language", {"en"}}};
  EXPECT_NE(refused("above(accuracy, 0.9)", chat).find("no prompt of this stage has an answer"), std::string::npos);
  EXPECT_NE(refused("above(harmless, 0.9)", chat).find("harm=1"), std::string::npos);
  EXPECT_EQ(refused("above(language, 0.9)", chat), "accepted");
  EXPECT_NE(refused("above(language, 0.9)", {}).find("language"), std::string::npos);
  EXPECT_EQ(refused("above(harmless_rm, 3)", chat), "accepted") << "a model of the expression";
  EXPECT_EQ(refusal(top / "d", {"rl_trainer.until=above(think_length, 3)"}), "accepted") << "a name of the expression";
}

// A model that knows eight answers by heart, asked with other ones for three of them.
TEST_F(MeasuredTest, the_greedy_accuracy_is_that_of_the_most_likely_completions_and_no_other_number) {
  std::string known, asked;
  for (int i = 0; i < 8; ++i) {
    const std::string prompt = "{\"prompt\": \"compute " + std::to_string(i) + " + 1\", ";
    known += prompt + "\"completion\": \"<think> 1 </think> <answer> " + std::to_string(i + 1) + " </answer>\"}\n";
    asked += prompt + "\"answer\": \"" + std::to_string(i < 5 ? i + 1 : 0) + "\"}\n";
  }
  write_file_atomically(top / "known.jsonl", known);
  write_file_atomically(top / "asked.jsonl", asked);
  LocalRun run(top / "run",
               {"base_trainer.objective=sft", "base_trainer.batch=8", "base_trainer.epochs=80", "base_trainer.until=epochs(80)",
                "corpus.source=jsonl:" + (top / "known.jsonl").string() + "?template=tiny", "base_eval.temperature=3",
                "base_eval.source=jsonl:" + (top / "asked.jsonl").string() + "?template=tiny", "base_eval.samples=8"});
  ASSERT_TRUE(run.run_stage("base", 1)) << run.report;
  const json before = json::parse(run.held_out("base", "before"));
  const json after = json::parse(run.held_out("base", "after"));
  EXPECT_EQ(before["accuracy_greedy"], 0);
  EXPECT_EQ(after["accuracy_greedy"], 5. / 8);
  EXPECT_LT(after["accuracy"], 4. / 8) << "the test is vacuous: sampling at temperature 3 is as good";
}

// The greedy accuracy that a finished run states, computed anew one prompt at a time.
TEST(MainJob, the_greedy_accuracy_of_the_summary_is_what_the_checkpoint_does) {
  const char* main_job = std::getenv("R1_MAIN_JOB");
  if (main_job == nullptr) GTEST_SKIP() << "set R1_MAIN_JOB to the directory of a finished run of graphs/r1_full.graph";
  const std::filesystem::path dir = main_job, graph_dir = source_dir() / "graphs";
  const GraphView graph = load_graph(dir / "graph.graph", role_registry(graph_dir));
  const RunEnv env = make_run_env(graph, dir, graph_dir);
  const json summary = json::parse(read_file(dir / "summary.json"));
  const NodePlan& trainer = *stage_trainer(graph, static_cast<int>(graph.stage("sft") - graph.stages.data()));
  const NodePlan& evaluator = *stage_node(graph, trainer.stage, "evaluator");
  const auto tokenizer = node_tokenizer(env, graph, trainer);
  const auto weights = load_origin_weights(env, trainer, graph, env.precision);
  const std::string source_name = evaluator.attrs.text("source").substr(0, evaluator.attrs.text("source").find(','));
  const auto source = open_source(source_name, env.seed);
  double right = 0;
  const int64_t problems = evaluator.attrs.integer("problems");
  GeneratorEngine engine(*env.device, {}, weights, 0);
  for (int64_t i = 0; i < problems; ++i) {
    const Prompt p = source->prompt(static_cast<uint64_t>(i));
    GenRequest r;
    r.prompt = tokenizer->encode(p.text, false);
    r.samples = 1;
    r.max_new_tokens = evaluator.attrs.integer("max_tokens");
    r.temperature = 0;
    r.stop_ids = weights->config().eos_ids;
    const size_t prompt_tokens = r.prompt.size();
    engine.submit(std::move(r));
    while (engine.pending() > 0)
      for (const GenResult& result : engine.step()) {
        const std::string text = tokenizer->decode(std::span(result.samples[0].tokens).subspan(prompt_tokens));
        // The answer between its tags, as text.
        const size_t open = text.find("<answer>"), close = text.find("</answer>");
        if (open == std::string::npos || close == std::string::npos || close < open) continue;
        std::string answer = text.substr(open + 8, close - open - 8);
        answer.erase(0, answer.find_first_not_of(' '));
        answer.erase(answer.find_last_not_of(' ') + 1);
        // One of the accepted answers, which stand between bars.
        right += ("|" + p.facts.at("answers") + "|").find("|" + answer + "|") != std::string::npos;
      }
  }
  for (const json& stage : summary["stages"]) {
    if (stage["name"] != "sft") continue;
    EXPECT_NEAR(stage["metrics"]["after"]["accuracy_greedy"].get<double>(), right / static_cast<double>(problems), 1e-9);
  }
}

}  // namespace
}  // namespace r1
