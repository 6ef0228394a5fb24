// What attributes become on their way to the engines, where no run would show it: limits of programs, keys of random numbers,
// the length of a schedule.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>

#include "actors/batch_layout.h"
#include "actors/reward_programs.h"
#include "actors/training_attrs.h"
#include "models/model_files.h"
#include "models/weights.h"
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
    LocalRun run(top / node, {node + ".reward_workers=3", node + ".reward_timeout_s=7.5", node + ".reward_retries=4",
                              node + ".reward_start_s=11"});
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

TEST_F(EngineOptions, a_schedule_is_as_long_as_all_mini_batches_of_all_inner_epochs) {
  const TrainerConfig c = trainer("rl", "rl_trainer", {"rl_trainer.mini_batches=3", "rl_trainer.inner_epochs=4"});
  EXPECT_EQ(c.inner_epochs, 4);
  EXPECT_EQ(c.total_steps, 5 * 3 * 4);
  EXPECT_EQ(trainer("base", "base_trainer", {}).total_steps, 5);
}

// The slow proof, that each of them changes what is learned, is attribute_test.cpp.
TEST_F(EngineOptions, of_a_trainer_are_the_numbers_of_its_attributes_and_of_its_generator) {
  const TrainerConfig c = trainer("rl", "rl_trainer",
                                  {"rl_trainer.lr=0.5", "rl_trainer.beta1=0.25", "rl_trainer.beta2=0.75", "rl_trainer.eps=1e-3",
                                   "rl_trainer.weight_decay=0.125", "rl_trainer.clip_norm=3", "rl_trainer.clip_low=0.375",
                                   "rl_trainer.clip_high=0.625", "rl_trainer.kl=0.0625", "rl_trainer.lr_end=0.1",
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
