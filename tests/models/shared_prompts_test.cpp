// Completions of one prompt in one micro-batch: the prompt's rows are computed once (models/training/packing.h), and no
// log-probability and no gradient is another than that of sequences on their own.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "models/training/objective.h"
#include "models/training/scoring_engine.h"
#include "tests/models/tiny.h"

namespace r1::test {
namespace {

TrainBatch scored_batch(const ModelConfig& config) {
  TrainBatch batch = grouped_batch(21, 3, 4, config.vocab_size);
  add_scores(batch, Rng(4, "scores"));
  return batch;
}

std::vector<float> values_of(const Gradients& g, const WeightSet& w, bool loads) {
  std::vector<float> out;
  for (size_t i = 0; i < w.specs().size(); ++i) {
    if ((w.specs()[i].role == ParamRole::selection_bias) != loads) continue;
    const std::vector<float> part = download_as<float>(g.param(static_cast<int>(i)));
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

double norm(const std::vector<float>& x) {
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v) * v;
  return std::sqrt(sum);
}

double distance(std::vector<float> a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return norm(a) / norm(b);
}

struct Learned {
  LossTotals totals;
  std::vector<float> gradients, loads;
  bool shared = false;
};

// Loss and gradients of a batch cut into micro-batches of `budget` rows; with `share` as trainers cut them.
Learned learn(Device& device, const WeightSet& weights, TrainerConfig config, const TrainBatch& batch, int64_t budget,
              bool share = true) {
  config.micro_batch_tokens = budget;
  PackRules rules = pack_rules(config, 1);
  rules.share_prompts = rules.share_prompts && share;
  const Model model(device, weights.config());
  Lane lane(device);
  LossPlan plan;
  plan.config = &config;
  plan.sequences = batch.sequences;
  plan.sequence_weight.assign(batch.sequences.size(), 0.05f);
  plan.balance_weight = 0.03f;
  Learned out;
  for (const MicroBatch& m : pack(batch.sequences, rules)) {
    out.shared = out.shared || !m.seen.empty();
    lane.tape.clear();
    lane.ctx.arena.reset();
    run_loss(lane, model, weights, m, plan, true, out.totals);
  }
  out.gradients = values_of(*lane.grads, weights, false);
  out.loads = values_of(*lane.grads, weights, true);
  return out;
}

TrainerConfig grpo() {
  TrainerConfig c;
  c.objective = Objective::grpo;
  c.temperature = 0.7;
  c.kl = 0.1;
  return c;
}

TEST(SharedPrompts, give_every_token_the_bits_that_its_sequence_has_alone) {
  for (const char* device_name : {"cpu", "reference", "fake"}) {
    Device& device = open_device(device_name);
    for (const auto& [name, config] : tiny_configs()) {
      const auto f32 = random_weights(device, config, 6);
      const TrainBatch batch = grouped_batch(7, 5, 6, config.vocab_size);
      for (const DType precision : {DType::f32, DType::bf16}) {
        SCOPED_TRACE(std::string(device_name) + " " + name + " " + dtype_name(precision));
        const auto w = std::make_shared<WeightSet>(convert_weights(*f32, config, precision));
        const auto together = ScoringEngine(device, w, 4096).logprobs(batch.sequences, 0.7);
        EXPECT_EQ(std::count(together[0].begin(), together[0].end(), 0.0f),
                  std::count(batch.sequences[0].trainable.begin(), batch.sequences[0].trainable.end(), 0))
            << "tokens of a prompt have none";
        for (size_t i = 0; i < batch.sequences.size(); ++i)
          EXPECT_EQ(ScoringEngine(device, w).logprobs({batch.sequences[i]}, 0.7)[0], together[i]) << i;
      }
    }
  }
}

TEST(SharedPrompts, give_the_loss_and_the_gradients_of_sequences_alone) {
  Device& device = open_device("reference");
  for (const auto& [name, config] : tiny_configs()) {
    SCOPED_TRACE(name);
    const auto w = random_weights(device, config, 3);
    const TrainBatch batch = scored_batch(config);
    const Learned together = learn(device, *w, grpo(), batch, 1000), alone = learn(device, *w, grpo(), batch, 1);
    ASSERT_TRUE(together.shared);
    ASSERT_FALSE(alone.shared);
    EXPECT_EQ(together.totals.tokens, alone.totals.tokens);
    EXPECT_NEAR(together.totals.loss, alone.totals.loss, 1e-5 * std::abs(alone.totals.loss));
    EXPECT_NEAR(together.totals.balance, alone.totals.balance, 1e-5 * alone.totals.balance);
    EXPECT_NEAR(together.totals.kl, alone.totals.kl, 1e-5 * std::abs(alone.totals.kl));
    EXPECT_LT(distance(together.gradients, alone.gradients), 2e-6);
    // Experts are counted by the rows that they computed.
    for (size_t e = 0; e < alone.loads.size(); ++e) EXPECT_LE(together.loads[e], alone.loads[e]);
    if (config.moe.selection_bias && config.moe.experts > 0) {
      EXPECT_LT(norm(together.loads), norm(alone.loads));
    }
  }
}

TEST(SharedPrompts, give_gradients_in_bf16_as_near_to_exact_ones_as_sequences_alone) {
  Device& device = open_device("cpu");
  for (const auto& [name, config] : tiny_configs()) {
    if (config.moe.experts > 0) continue;  // rounding changes who is chosen
    SCOPED_TRACE(name);
    const auto f32 = random_weights(device, config, 3);
    const auto narrow = convert_weights(*f32, config, DType::bf16);
    const auto exact_weights = convert_weights(narrow, config, DType::f32);
    const TrainBatch batch = scored_batch(config);
    const Learned exact = learn(device, exact_weights, grpo(), batch, 1);
    const Learned together = learn(device, narrow, grpo(), batch, 1000), alone = learn(device, narrow, grpo(), batch, 1);
    ASSERT_TRUE(together.shared);
    EXPECT_LT(distance(together.gradients, exact.gradients), 1.3 * distance(alone.gradients, exact.gradients));
  }
}

TEST(SharedPrompts, of_preference_pairs_give_the_gradients_of_pairs_in_rows_of_their_own) {
  Device& device = open_device("reference");
  ModelConfig config = tiny_config(Architecture::qwen2);
  config.scalar_head = true;
  const auto w = random_weights(device, config, 3);
  TrainerConfig c;
  c.objective = Objective::reward_model;
  const TrainBatch batch = grouped_batch(5, 4, 2, config.vocab_size);
  const Learned together = learn(device, *w, c, batch, 1000), apart = learn(device, *w, c, batch, 1000, false);
  ASSERT_TRUE(together.shared);
  ASSERT_FALSE(apart.shared);
  EXPECT_EQ(together.totals.tokens, apart.totals.tokens);
  EXPECT_NEAR(together.totals.loss, apart.totals.loss, 1e-6);
  EXPECT_LT(distance(together.gradients, apart.gradients), 2e-6);
}

TEST(SharedPrompts, are_trained_in_the_same_bits_where_activations_are_computed_again) {
  for (const char* device_name : {"cpu", "fake"}) {
    Device& device = open_device(device_name);
    for (const auto& [name, config] : tiny_configs()) {
      SCOPED_TRACE(std::string(device_name) + " " + name);
      const TrainBatch batch = scored_batch(config);
      std::vector<Hash128> masters;
      for (const bool recompute : {false, true}) {
        TrainerConfig c = grpo();
        c.precision = DType::bf16;
        c.balance_loss = 0.1;
        c.recompute = recompute;
        c.micro_batch_tokens = 100;
        TrainerEngine e(device, c, *random_weights(device, config, 3));
        e.train(batch);
        masters.push_back(e.masters_hash());
      }
      EXPECT_EQ(masters[0], masters[1]);
    }
  }
}

}  // namespace
}  // namespace r1::test
