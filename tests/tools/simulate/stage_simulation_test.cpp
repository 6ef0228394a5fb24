// Where one thing decides, the simulation's time is a formula.
#include "tools/simulate/stage_simulation.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace r1::simulate {
namespace {

constexpr double kLength = 10, kToken_s = 0.25, kTrain_s = 4;
constexpr double kGroup_s = kLength * kToken_s;  // one sequence alone: 2.5 s

struct OneByOne : testing::Test {
  StageShape shape;
  Machines machines;
  Costs costs;
  OneByOne() {
    shape.groups = 1, shape.samples = 1, shape.max_running = 1, shape.batches = 20;
    machines.generators = {0};
    costs.generate.token_s = kToken_s;
    costs.tokens.mean = kLength;
    costs.train.batch_s = kTrain_s;
  }
  StageResult run() const { return simulate_stage(shape, machines, costs); }
};

TEST_F(OneByOne, without_staleness_generation_and_training_take_turns) {
  const StageResult r = run();
  EXPECT_DOUBLE_EQ(r.seconds, 20 * (kGroup_s + kTrain_s));
  EXPECT_DOUBLE_EQ(r.generators, kGroup_s / (kGroup_s + kTrain_s));
  EXPECT_DOUBLE_EQ(r.trainer, kTrain_s / (kGroup_s + kTrain_s));
  EXPECT_DOUBLE_EQ(r.tokens_generated, 20 * kLength);
  EXPECT_DOUBLE_EQ(r.tokens_trained, 20 * kLength);
  EXPECT_EQ(r.age_max, 0);
  EXPECT_DOUBLE_EQ(r.bytes_out, 0) << "all of it is one process";
}

TEST_F(OneByOne, a_slow_trainer_is_the_whole_time_but_for_the_first_batch) {
  shape.staleness = 1;
  const StageResult r = run();
  EXPECT_DOUBLE_EQ(r.seconds, kGroup_s + 20 * kTrain_s);
  EXPECT_EQ(r.age_max, 1);
  EXPECT_NE(what_to_scale(r).find("as fast as its trainer"), std::string::npos) << what_to_scale(r);
}

TEST_F(OneByOne, a_slow_generator_is_the_whole_time_but_for_the_last_batch) {
  shape.staleness = 1;
  costs.train.batch_s = 1;
  const StageResult r = run();
  EXPECT_DOUBLE_EQ(r.seconds, 20 * kGroup_s + 1);
  EXPECT_GT(r.generators, 0.97);
  EXPECT_NE(what_to_scale(r).find("as fast as its generators"), std::string::npos) << what_to_scale(r);
}

TEST_F(OneByOne, two_generators_halve_a_generators_time) {
  shape.staleness = 3;
  costs.train.batch_s = 0.01;
  machines.generators = {0, 0};
  EXPECT_DOUBLE_EQ(run().seconds, 10 * kGroup_s + 2 * 0.01) << "the last two are there at once";
}

TEST_F(OneByOne, what_shares_a_step_shares_its_fixed_part) {
  shape.samples = 8, shape.max_running = 8, shape.batches = 1;
  costs.generate = {0.5, 0.125, 0};
  EXPECT_DOUBLE_EQ(run().seconds, kLength * (0.5 + 8 * 0.125) + kTrain_s);
  shape.samples = 1, shape.groups = 8;
  EXPECT_DOUBLE_EQ(run().seconds, kLength * (0.5 + 8 * 0.125) + kTrain_s) << "eight groups of one run together as well";
  shape.max_running = 4;
  EXPECT_DOUBLE_EQ(run().seconds, 2 * kLength * (0.5 + 4 * 0.125) + kTrain_s) << "four at a time";
}

TEST_F(OneByOne, prompts_are_read_once_a_group_and_contexts_again_under_new_weights) {
  shape.batches = 1;
  costs.generate.prefill_token_s = 0.5;
  costs.tokens.prompt = 6;
  EXPECT_DOUBLE_EQ(run().seconds, 6 * 0.5 + kGroup_s + kTrain_s);
}

TEST_F(OneByOne, devices_that_train_share_a_batch_and_take_turns_with_the_reference) {
  shape.reference = true;
  machines.trainers = 4;
  costs.train = {0, 0.8};
  costs.reference.token_s = 0.4;
  const StageResult r = run();
  EXPECT_DOUBLE_EQ(r.seconds, 20 * (kGroup_s + kLength * 0.8 / 4 + kLength * 0.4 / 4));
  EXPECT_DOUBLE_EQ(r.reference * 2, r.trainer);
}

TEST_F(OneByOne, the_heads_link_sends_one_copy_of_a_version_after_the_other) {
  constexpr int kWorkers = 8;
  shape.groups = kWorkers;
  machines.generators.clear();
  for (int w = 0; w < kWorkers; ++w) machines.generators.push_back(1 + w / 4);
  costs.bytes = {0, 1e8};
  costs.link = {1e9, 0};  // a tenth of a second a copy
  const StageResult r = run();
  // The last generator begins 0.8 s after the version was there.
  EXPECT_NEAR(r.seconds, 20 * (kGroup_s + kTrain_s) + 19 * kWorkers * 0.1, 1e-9);
  EXPECT_DOUBLE_EQ(r.bytes_out, 19 * kWorkers * 1e8) << "the last version is nobody's";
  costs.bytes.weights = 1e10;
  EXPECT_NE(what_to_scale(run()).find("link sends"), std::string::npos) << what_to_scale(run());
}

TEST_F(OneByOne, trajectories_come_over_the_link_with_their_latency) {
  machines.generators = {1};
  costs.bytes = {100, 0};
  costs.link = {1000, 0.5};  // ten tokens: one second
  const StageResult r = run();
  EXPECT_DOUBLE_EQ(r.bytes_in, 20 * kLength * 100);
  // A prompt's way there once (later ones wait at the generator), a version's way there each time after the first.
  EXPECT_DOUBLE_EQ(r.seconds, 20 * (kGroup_s + 1 + 0.5 + kTrain_s) + 19 * 0.5 + 0.5);
}

TEST_F(OneByOne, no_trained_group_is_older_than_the_bound) {
  for (const int64_t k : {0, 1, 2, 5}) {
    shape = {.groups = 4, .samples = 2, .staleness = k, .max_running = 64, .max_tokens = 200, .batches = 30};
    machines.generators = {0, 1, 1, 2};
    costs.tokens.deviation = 8;
    costs.bytes = {10, 1e6};
    costs.link = {1e7, 0.01};
    const StageResult r = run();
    EXPECT_LE(r.age_max, k);
    EXPECT_EQ(r.batches, 30);
    EXPECT_EQ(run().seconds, r.seconds) << "a function of its arguments";
  }
}

TEST_F(OneByOne, groups_that_teach_nothing_make_batches_smaller) {
  shape.groups = 10;
  shape.max_running = 10;
  costs.kept = 0.3;
  EXPECT_DOUBLE_EQ(run().tokens_trained, 20 * 3 * kLength);
}

struct WithoutLearning : OneByOne {
  WithoutLearning() {
    shape.sort = StageSort::samples;
    shape.groups = 4, shape.batches = 5;  // 20 draws
    machines.trainers = 0;
  }
};

TEST_F(WithoutLearning, what_only_samples_is_bound_by_no_version_and_takes_as_long_as_its_completions) {
  const StageResult r = run();
  EXPECT_DOUBLE_EQ(r.seconds, 20 * kGroup_s);
  EXPECT_DOUBLE_EQ(r.generators, 1);
  EXPECT_DOUBLE_EQ(r.held_back, 0);
  EXPECT_DOUBLE_EQ(r.trainer, 0);
  EXPECT_DOUBLE_EQ(r.tokens_generated, 20 * kLength);
  EXPECT_NE(what_to_scale(r).find("as fast as its generators"), std::string::npos) << what_to_scale(r);
  machines.generators = {0, 0, 1, 1};
  costs.bytes = {0, 1e12};
  costs.link = {1e9, 0};
  EXPECT_DOUBLE_EQ(run().seconds, 5 * kGroup_s) << "four at once, and no version is sent";
  EXPECT_DOUBLE_EQ(run().bytes_out, 0);
}

TEST_F(WithoutLearning, a_slow_judge_is_the_whole_time_but_for_the_first_completion) {
  costs.judge.completion_s = 10;
  const StageResult r = run();
  EXPECT_DOUBLE_EQ(r.seconds, kGroup_s + 20 * 10);
  EXPECT_NE(what_to_scale(r).find("its judge"), std::string::npos) << what_to_scale(r);
}

TEST_F(WithoutLearning, of_more_devices_than_draws_half_have_nothing_to_do) {
  machines.generators = std::vector<int>(40, 0);
  const StageResult r = run();
  EXPECT_DOUBLE_EQ(r.seconds, kGroup_s);
  EXPECT_DOUBLE_EQ(r.generators, 0.5);
  EXPECT_DOUBLE_EQ(r.idlest, 0);
  EXPECT_NE(what_to_scale(r).find("fewer devices"), std::string::npos) << what_to_scale(r);
}

TEST_F(WithoutLearning, an_evaluation_samples_and_then_decodes_greedily_on_one_device) {
  shape.sort = StageSort::evaluates;
  shape.batches = 1, shape.groups = shape.capacity = 6, shape.samples = 4, shape.max_running = 8;
  EXPECT_DOUBLE_EQ(run().seconds, 3 * kLength * 8 * kToken_s) << "two prompts at a time";
  shape.greedy = true;
  const StageResult r = run();
  EXPECT_DOUBLE_EQ(r.seconds, 3 * kLength * 8 * kToken_s + kLength * 6 * kToken_s) << "and all six at once";
  EXPECT_DOUBLE_EQ(r.tokens_generated, 6 * 5 * kLength);
  EXPECT_DOUBLE_EQ(r.generators, 1);
  EXPECT_NE(what_to_scale(r).find("its one device"), std::string::npos) << what_to_scale(r);
}

TEST_F(OneByOne, between_two_batches_nobody_works_for_as_long_as_the_costs_say) {
  costs.between.batch_s = 3;
  const StageResult r = run();
  EXPECT_DOUBLE_EQ(r.seconds, 20 * (kGroup_s + 3 + kTrain_s));
  EXPECT_DOUBLE_EQ(r.trainer, kTrain_s / (kGroup_s + 3 + kTrain_s));
  shape.sort = StageSort::samples;
  machines.trainers = 0;
  EXPECT_DOUBLE_EQ(run().seconds, std::max(20 * kGroup_s + 3, kGroup_s + 20 * 3)) << "the generator goes on meanwhile";
}

TEST_F(OneByOne, evaluators_measure_before_and_after_and_while_the_trainer_waits) {
  const double alone = run().seconds;
  shape.problems.before = 30, shape.problems.after = 10;
  shape.problems.every = {{6, 5}};
  costs.evaluate.problem_s = 0.5;
  const StageResult r = run();
  const double all = 0.5 * (30 + 10 + 3 * 5);
  EXPECT_DOUBLE_EQ(r.seconds, alone + all);
  EXPECT_DOUBLE_EQ(r.evaluator, all / r.seconds);
  EXPECT_DOUBLE_EQ(r.trainer, 20 * kTrain_s / r.seconds) << "shares are of the whole";
  // On another device what is measured before costs nothing, as long as the stage takes longer.
  machines.evaluates_beside = true;
  EXPECT_DOUBLE_EQ(run().seconds, alone + 0.5 * (10 + 3 * 5));
  shape.problems.before = 1000;
  EXPECT_DOUBLE_EQ(run().seconds, 0.5 * (1000 + 10 + 3 * 5));
  EXPECT_NE(what_to_scale(run()).find("its evaluators"), std::string::npos) << what_to_scale(run());
}

TEST_F(OneByOne, what_learns_from_examples_is_its_trainer_alone) {
  shape.sort = StageSort::learns_from_examples;
  shape.examples = 32;
  machines.generators.clear();
  machines.trainers = 4;
  costs.tokens.example = 100;
  costs.train = {2, 0.01};
  const StageResult r = run();
  EXPECT_DOUBLE_EQ(r.seconds, 20 * (2 + 32 * 100 * 0.01 / 4));
  EXPECT_DOUBLE_EQ(r.tokens_trained, 20 * 32 * 100);
  EXPECT_DOUBLE_EQ(r.trainer, 1);
  EXPECT_NE(what_to_scale(r).find("as fast as its trainer"), std::string::npos) << what_to_scale(r);
  costs.tokens.example = 0;
  EXPECT_DOUBLE_EQ(run().tokens_trained, 20 * 32 * kLength) << "of a prompt and a completion where nothing is said";
}

}  // namespace
}  // namespace r1::simulate
