// What attributes become on their way to the engines, where no run would show it: limits of programs, keys of random numbers,
// the length of a schedule.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>

#include "actors/batch_layout.h"
#include "actors/evaluation.h"
#include "actors/reward_programs.h"
#include "actors/training_attrs.h"
#include "models/forwarding_engines.h"
#include "models/model_files.h"
#include "models/weights.h"
#include "runtime/conductor/conductor.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

struct EngineOptions : StageTest {
  TrainerConfig trainer(const std::string& stage, const std::string& node, const std::vector<std::string>& settings) {
    LocalRun run(top / std::to_string(runs++), settings);
    EXPECT_EQ(run.graph.stages[static_cast<size_t>(run.graph.node(node)->stage)].name, stage);
    return trainer_config(run.env, run.graph, *run.graph.node(node), 5);
  }
  int runs = 0;
};

TEST_F(EngineOptions, of_reward_programs_are_what_the_judge_or_the_evaluator_says) {
  for (const std::string node : {"judge", "base_eval"}) {
    LocalRun run(top / node, {node + ".rewards=command('cat')", node + ".reward_workers=3", node + ".reward_timeout_s=7.5",
                              node + ".reward_retries=4", node + ".reward_start_s=11"});
    const ProgramOptions options = program_options("here", *run.graph.node(node));
    EXPECT_EQ(options.workers, 3);
    EXPECT_EQ(options.timeout_s, 7.5);
    EXPECT_EQ(options.retries, 4);
    EXPECT_EQ(options.start_s, 11);
    EXPECT_EQ(options.directory, "here");
    EXPECT_EQ(workers_of(ProgramCall{}, options), 3);
  }
}

TEST_F(EngineOptions, mini_batches_are_shuffled_by_a_key_of_the_stage_and_of_the_seed) {
  const std::set<uint64_t> keys = {trainer("rl", "rl_trainer", {}).shuffle_key, trainer("rl2", "rl2_trainer", {}).shuffle_key,
                                   trainer("rl", "rl_trainer", {"graph.seed=6"}).shuffle_key,
                                   trainer("rl2", "rl2_trainer", {"graph.seed=6"}).shuffle_key};
  EXPECT_EQ(keys.size(), 4u);
  EXPECT_EQ(trainer("rl", "rl_trainer", {"rl_trainer.lr=1e-2"}).shuffle_key, trainer("rl", "rl_trainer", {}).shuffle_key);
}

TEST_F(EngineOptions, of_a_trainer_that_recomputes_say_so) {
  EXPECT_FALSE(trainer("rl", "rl_trainer", {}).recompute);
  EXPECT_TRUE(trainer("rl", "rl_trainer", {"rl_trainer.recompute=true"}).recompute);
}

TEST_F(EngineOptions, a_schedule_is_as_long_as_all_mini_batches_of_all_inner_epochs) {
  const TrainerConfig c = trainer("rl", "rl_trainer", {"rl_trainer.mini_batches=3", "rl_trainer.inner_epochs=4"});
  EXPECT_EQ(c.inner_epochs, 4);
  EXPECT_EQ(c.total_steps, 5 * 3 * 4);
  EXPECT_EQ(trainer("base", "base_trainer", {}).total_steps, 5);
}

TEST_F(EngineOptions, of_a_run_are_what_its_graph_says) {
  LocalRun run(top / "run", {"graph.parallel_stages=3", "graph.stall_s=7.5", "graph.job_stall_s=8.5", "graph.max_restarts=2"});
  const RunOptions options = run_options(run.graph, run.dir, 11);
  EXPECT_EQ(options.max_parallel_stages, 3);
  EXPECT_EQ(options.stall_s, 7.5);
  EXPECT_EQ(options.job_stall_s, 8.5);
  EXPECT_EQ(options.max_restarts, 2);
  EXPECT_EQ(options.run_dir, run.dir);
  EXPECT_EQ(options.seed, 11u);
}

// Real engines, and what samplers are asked.
struct Asked final : ForwardingEngines {
  using ForwardingEngines::ForwardingEngines;
  struct Noted final : Sampler {
    Noted(std::unique_ptr<Sampler> i, std::vector<GenRequest>& a) : inner(std::move(i)), asked(a) {}
    void submit(GenRequest request) override {
      asked.push_back(request);
      inner->submit(std::move(request));
    }
    int64_t pending() const override { return inner->pending(); }
    std::vector<GenResult> step() override { return inner->step(); }
    void set_weights(std::shared_ptr<const WeightSet> w, int64_t v) override { inner->set_weights(std::move(w), v); }
    int64_t version() const override { return inner->version(); }
    std::vector<uint64_t> cancel_all() override { return inner->cancel_all(); }
    const GeneratorStats& stats() const override { return inner->stats(); }
    std::unique_ptr<Sampler> inner;
    std::vector<GenRequest>& asked;
  };
  std::unique_ptr<Sampler> sampler(const std::string& node, const GeneratorConfig& config,
                                   std::shared_ptr<const WeightSet> weights, int64_t version) const override {
    running.push_back(config.max_running);
    return std::make_unique<Noted>(inner_->sampler(node, config, std::move(weights), version), requests);
  }
  mutable std::vector<GenRequest> requests;
  mutable std::vector<int64_t> running;
};

TEST_F(EngineOptions, of_an_evaluation_are_what_the_evaluator_says_and_those_of_its_greedy_pass_are_greedy) {
  LocalRun run(top / "run", {"base_eval.problems=2", "base_eval.samples=3", "base_eval.temperature=0.75", "base_eval.top_p=0.5",
                             "base_eval.max_tokens=7", "base_eval.max_running=5", "base_eval.greedy=true"});
  const auto asked = std::make_shared<Asked>(run.env.engines);
  run.env.engines = asked;
  const NodePlan& node = *run.graph.node("base_eval");
  evaluate_model(run.env, evaluation_spec(run.env, node),
                 {load_start_weights(run.env, run.graph, node, DType::f32), node_tokenizer(run.env, run.graph, node)}, {});
  EXPECT_EQ(asked->running, (std::vector<int64_t>{5, 5}));
  ASSERT_EQ(asked->requests.size(), 4u);
  std::set<uint64_t> keys;
  for (size_t i = 0; i < 4; ++i) {
    const GenRequest& r = asked->requests[i];
    const bool greedy = i >= 2;
    EXPECT_EQ(r.samples, greedy ? 1 : 3) << i;
    EXPECT_EQ(r.temperature, greedy ? 0.f : 0.75f) << i;
    EXPECT_EQ(r.top_p, greedy ? 1.f : 0.5f) << i;
    EXPECT_EQ(r.max_new_tokens, 7) << i;
    EXPECT_FALSE(r.stop_ids.empty()) << i;
    keys.insert(r.rng_key);
  }
  EXPECT_EQ(keys.size(), 2u) << "a prompt has its numbers, whoever asks it";
}

// The slow proof, that each of them changes what is learned, is attribute_test.cpp.
TEST_F(EngineOptions, of_a_trainer_are_the_numbers_of_its_attributes_and_of_its_generator) {
  const TrainerConfig c =
      trainer("rl", "rl_trainer",
              {"rl_trainer.lr=0.5", "rl_trainer.beta1=0.25", "rl_trainer.beta2=0.75", "rl_trainer.eps=1e-3",
               "rl_trainer.weight_decay=0.125", "rl_trainer.clip_norm=3", "rl_trainer.clip_low=0.375",
               "rl_trainer.clip_high=0.625", "rl_trainer.kl=0.0625", "rl_trainer.schedule=linear", "rl_trainer.lr_end=0.1",
               "rl_trainer.warmup=7", "policy.temperature=0.7", "policy.max_tokens=11"});
  EXPECT_EQ(c.lr, 0.5);
  EXPECT_EQ(c.beta1, 0.25);
  EXPECT_EQ(c.beta2, 0.75);
  EXPECT_EQ(c.eps, 1e-3);
  EXPECT_EQ(c.weight_decay, 0.125);
  EXPECT_EQ(c.clip_norm, 3);
  EXPECT_EQ(c.clip_low, 0.375);
  EXPECT_EQ(c.clip_high, 0.625);
  EXPECT_EQ(c.kl, 0.0625);
  EXPECT_EQ(c.lr_end, 0.1);
  EXPECT_EQ(c.warmup_steps, 7);
  EXPECT_FLOAT_EQ(static_cast<float>(c.temperature), 0.7f);
  EXPECT_EQ(c.longest_completion, 11);
}

TEST_F(EngineOptions, how_a_batch_is_laid_out_is_what_the_trainer_says) {
  const auto rules = [&](const std::vector<std::string>& settings) {
    LocalRun run(top / std::to_string(runs++), settings);
    return layout_rules(*run.graph.node("rl_trainer"));
  };
  for (const bool deviation : {true, false})
    EXPECT_EQ(rules({std::string("rl_trainer.advantage=") + (deviation ? "std" : "mean")}).by_deviation, deviation);
  for (const bool masked : {true, false})
    EXPECT_EQ(rules({std::string("rl_trainer.mask_truncated=") + (masked ? "true" : "false")}).mask_truncated, masked);
  EXPECT_TRUE(rules({"rl_trainer.mean_over=all"}).mean_over_all);
  EXPECT_FALSE(rules({}).mean_over_all);
}

TEST_F(EngineOptions, weights_are_exported_in_the_type_that_the_trainer_names_and_else_not_at_all) {
  for (const char* type : {"", "f32", "bf16", "f16"}) {
    SCOPED_TRACE(type);
    std::vector<std::string> settings = {"base_trainer.until=batches(1)", "base_eval.problems=1"};
    if (*type != 0) settings.push_back(std::string("base_trainer.save_dtype=") + type);
    LocalRun run(top / ("run" + std::string(type)), settings);
    ASSERT_TRUE(run.run_stage("base", 1)) << run.report;
    const auto exported = run.dir / "exports/base";
    if (*type == 0) {
      EXPECT_FALSE(std::filesystem::exists(exported));
      continue;
    }
    std::string name = type;
    std::transform(name.begin(), name.end(), name.begin(), [](char c) { return static_cast<char>(std::toupper(c)); });
    const StoredModel stored(exported);
    for (const auto& [tensor, info] : stored.tensors()) EXPECT_EQ(info.type, name) << tensor;
    const DType held = name == "BF16" ? DType::bf16 : DType::f32;
    const auto masters = load_weights(*run.env.device, run.dir / "checkpoints/base", DType::f32);
    const auto kept = load_weights(*run.env.device, exported, held);
    if (name != "F16") {
      EXPECT_EQ(kept->hash(), convert_weights(*masters, masters->config(), held).hash());
    }
  }
}

}  // namespace
}  // namespace r1
