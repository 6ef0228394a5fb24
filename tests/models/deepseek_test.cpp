// What is peculiar to models with experts: the selection bias as part of a version, its update, the balance loss, routing that
// leaves rows independent.
#include <gtest/gtest.h>

#include <cmath>

#include "models/safetensors.h"
#include "models/training/objective.h"
#include "models/training/scoring_engine.h"
#include "models/version_delta.h"
#include "tests/models/generation/temporary_dir.h"
#include "tests/models/tiny.h"

namespace r1::test {
namespace {

using testing::TemporaryDir;

ModelConfig deepseek() { return tiny_config(Architecture::deepseek_v3); }

int bias_param(const WeightSet& w) {
  int found = -1;
  for (size_t i = 0; i < w.specs().size(); ++i)
    if (w.specs()[i].role == ParamRole::selection_bias) found = static_cast<int>(i);
  return found;
}
std::vector<float> bias_of(const WeightSet& w) { return download_as<float>(w.param(static_cast<size_t>(bias_param(w)))); }

WeightSet as_bf16(const WeightSet& f32) {
  WeightSet out(f32.device(), f32.config(), DType::bf16);
  Context ctx(f32.device());
  copy_weights(ctx, f32, out);
  return out;
}

TEST(SelectionBias, IsF32BehindTheOthersInASetOfAnyType) {
  Device& device = open_device("cpu");
  const auto f32 = random_weights(device, deepseek(), 1);
  const WeightSet bf16 = as_bf16(*f32);
  const std::vector<WeightSegment>&of_f32 = f32->segments(), &of_bf16 = bf16.segments();
  ASSERT_EQ(of_f32.size(), 2u);
  ASSERT_EQ(of_bf16.size(), 2u);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(of_f32[i].values.size(), of_bf16[i].values.size());
  EXPECT_EQ(bf16.flat().size() - of_bf16[0].values.size(), 2 * of_bf16[1].values.size());
  EXPECT_TRUE(of_bf16[0].trainable);
  EXPECT_FALSE(of_bf16[1].trainable) << "moved by their load";
  const auto b = static_cast<size_t>(bias_param(bf16));
  EXPECT_EQ(bf16.param(b).dtype, DType::f32);
  EXPECT_EQ((bf16.param(b).data - bf16.flat().data) % 64, 0);
  EXPECT_EQ(bf16.place(b).segment, 1u);
  EXPECT_GE(bf16.param(b).data, of_bf16[0].values.data + 2 * of_bf16[0].values.size());
  EXPECT_EQ(bias_of(bf16), bias_of(*f32)) << "not rounded";
  const WeightSet dense(device, tiny_config(Architecture::llama), DType::bf16);
  ASSERT_EQ(dense.segments().size(), 1u);
  EXPECT_EQ(dense.flat().size(), dense.segments()[0].values.size());
}

TEST(SelectionBias, IsPartOfTheHashTheDeltaAndTheFiles) {
  Device& device = open_device("cpu");
  const auto f32 = random_weights(device, deepseek(), 1);
  for (const bool narrow : {false, true}) {
    const WeightSet first = narrow ? as_bf16(*f32) : convert_weights(*f32, f32->config(), DType::f32);
    WeightSet second = convert_weights(first, first.config(), first.dtype());
    EXPECT_EQ(second.hash(), first.hash());
    std::vector<float> bias = bias_of(first);
    bias[3] = std::nextafter(bias[3], 1.0f);  // a step that bf16 could not hold
    upload(second.param(static_cast<size_t>(bias_param(second))), bias);
    EXPECT_NE(second.hash(), first.hash());

    const VersionDelta delta = encode_delta(&first, 4, second, 5);
    EXPECT_FALSE(delta.full());
    EXPECT_LT(delta.bytes(), 100u);
    const auto applied = apply_delta(&first, delta, first.config(), device, first.dtype());
    EXPECT_EQ(applied->hash(), second.hash());
    EXPECT_EQ(bias_of(*applied), bias);

    const TemporaryDir dir;
    save_model_dir(dir.path() / "m", second, "{}");
    check_model_dir(dir.path() / "m");
    const SafetensorsFile file(dir.path() / "m" / "model.safetensors");
    EXPECT_EQ(file.find("model.layers.1.mlp.gate.e_score_correction_bias")->dtype, "F32");
    EXPECT_EQ(file.find("model.layers.1.mlp.experts.7.down_proj.weight")->dtype, narrow ? "BF16" : "F32");
    EXPECT_EQ(file.find("model.layers.1.mlp.experts.7.down_proj.weight")->shape, (std::vector<int64_t>{16, 6}));
    EXPECT_EQ(load_weights(device, dir.path() / "m", first.dtype())->hash(), second.hash());
  }
}

TEST(SelectionBias, MovesByItsRateTowardsBalanceAfterEveryStep) {
  Device& device = open_device("cpu");
  for (DType precision : {DType::f32, DType::bf16}) {
    TrainerConfig c;
    c.precision = precision;
    c.bias_update_rate = 0.01;
    TrainerEngine e(device, c, *random_weights(device, deepseek(), 1));
    const std::vector<float> before = bias_of(e.masters());
    const TrainStats stats = e.train(random_batch(1, 20, 19));
    ASSERT_EQ(stats.expert_load.size(), 1u);
    EXPECT_LT(stats.grad_norm, 20) << "loads, which count tokens, are no gradient";
    const std::vector<double>& load = stats.expert_load[0];
    double total = 0;
    for (double share : load) total += share;
    EXPECT_NEAR(total, 1, 1e-12);
    const std::vector<float> after = bias_of(e.masters());
    int moved = 0;
    for (size_t i = 0; i < load.size(); ++i) {
      const float step = load[i] > 1.0 / 8 ? -0.01f : load[i] < 1.0 / 8 ? 0.01f : 0.0f;
      EXPECT_EQ(after[i], before[i] + step) << i << " with a share of " << load[i];
      moved += step != 0;
    }
    EXPECT_GT(moved, 4);
    EXPECT_EQ(bias_of(*e.weights()), after) << "what generators hold is the same, in f32";
    const auto [least, most] = std::minmax_element(after.begin(), after.end());
    EXPECT_DOUBLE_EQ(stats.expert_bias_spread, static_cast<double>(*most) - static_cast<double>(*least));
    e.train({});
    EXPECT_EQ(bias_of(e.masters()), after) << "no step, no update";
  }
}

TEST(SelectionBias, BalancesTheLoadOverTheSteps) {
  Device& device = open_device("cpu");
  const auto largest_share = [&](double rate) {
    TrainerConfig c;
    c.lr = 0;
    c.bias_update_rate = rate;
    c.balance_loss = 0;
    TrainerEngine e(device, c, *random_weights(device, deepseek(), 5));
    double largest = 0;
    for (uint64_t i = 0; i < 60; ++i) {
      const TrainStats s = e.train(random_batch(i, 20, 19));
      if (i < 50) continue;
      largest += *std::max_element(s.expert_load[0].begin(), s.expert_load[0].end()) / 10;
    }
    return largest;
  };
  EXPECT_GT(largest_share(0), 0.25);
  EXPECT_LT(largest_share(0.02), 0.18);
}

TEST(ExpertLoad, CountsWholeTokensWhateverTheCut) {
  Device& device = open_device("cpu");
  const TrainBatch batch = random_batch(3, 40, 19);
  std::vector<std::vector<std::vector<double>>> loads;
  for (int64_t budget : {16, 100, 100000}) {
    TrainerConfig c;
    c.objective = Objective::pretrain;
    c.micro_batch_tokens = budget;
    TrainerEngine e(device, c, *random_weights(device, deepseek(), 3));
    loads.push_back(e.train(batch).expert_load);
  }
  EXPECT_EQ(loads[0], loads[1]);
  EXPECT_EQ(loads[0], loads[2]);
}

TEST(BalanceLoss, IsAddedToTheGradientButNotToTheLoss) {
  // Central differences of loss + balance loss along the router's gradient.
  Device& device = open_device("reference");
  const ModelConfig config = deepseek();
  const auto w = random_weights(device, config, 4);
  const Model model(device, config);
  TrainerConfig trainer;
  trainer.objective = Objective::pretrain;
  const TrainBatch batch = random_batch(11, 4, config.vocab_size);
  LossPlan plan;
  plan.config = &trainer;
  plan.sequences = batch.sequences;
  plan.sequence_weight.assign(batch.sequences.size(), 0.05f);
  plan.balance_weight = 2;
  const std::vector<MicroBatch> packs = pack(batch.sequences, pack_rules(trainer, 1));
  ASSERT_EQ(packs.size(), 1u);
  Lane lane(device);
  const auto totals = [&] {
    lane.tape.clear();
    lane.ctx.arena.reset();
    lane.has_grads = false;
    LossTotals t;
    run_loss(lane, model, *w, packs[0], plan, true, t);
    return t;
  };
  const auto router = static_cast<size_t>(model.params().layers[1].router);
  const LossTotals with = totals();
  const std::vector<float> gradient = download_as<float>(lane.grads->param(static_cast<int>(router)));
  // f_i P_i sums to about 1 a sequence when experts are used evenly.
  EXPECT_NEAR(with.balance, 2 * 4 * 1.1, 2.0);
  double norm = 0;
  for (float g : gradient) norm += static_cast<double>(g) * g;
  norm = std::sqrt(norm);
  const std::vector<float> base = download_as<float>(w->param(router));
  const auto at = [&](double h) {
    std::vector<float> moved = base;
    for (size_t i = 0; i < moved.size(); ++i) moved[i] += static_cast<float>(h * gradient[i] / norm);
    upload(w->param(router), moved);
    const LossTotals t = totals();
    return t.loss + t.balance;
  };
  EXPECT_NEAR((at(2e-3) - at(-2e-3)) / 4e-3, norm, 0.01 * norm);
  upload(w->param(router), base);
  plan.balance_weight = 0;
  const LossTotals without = totals();
  EXPECT_EQ(without.loss, with.loss);
  EXPECT_EQ(without.balance, 0);
  EXPECT_NE(download_as<float>(lane.grads->param(static_cast<int>(router))), gradient);
}

TEST(Experts, ARowsLogitsDoNotDependOnItsNeighbours) {
  Device& device = open_device("cpu");
  const ModelConfig config = deepseek();
  const auto f32 = random_weights(device, config, 6);
  const TrainBatch batch = random_batch(7, 12, config.vocab_size);
  for (const bool narrow : {false, true}) {
    auto w = std::make_shared<WeightSet>(narrow ? as_bf16(*f32) : *f32);
    const auto together = ScoringEngine(device, w, 4096).logprobs(batch.sequences, 1);
    for (size_t i = 0; i < batch.sequences.size(); ++i)
      EXPECT_EQ(ScoringEngine(device, w).logprobs({batch.sequences[i]}, 1)[0], together[i]) << i;
  }
}

TEST(DeepseekTrainer, SaveLoadContinueIsBitEqualWithItsBias) {
  const TemporaryDir dir;
  Device& device = open_device("cpu");
  for (const char* optimizer : {"adamw", "muon"}) {
    TrainerConfig c;
    c.optimizer = optimizer;
    c.precision = DType::bf16;
    TrainerEngine a(device, c, *random_weights(device, deepseek(), 1), 7);
    for (uint64_t i = 0; i < 3; ++i) a.train(random_batch(i, 8, 19));
    a.save(dir.path() / "state");
    TrainerEngine b(device, c, *random_weights(device, deepseek(), 99));
    b.load(dir.path() / "state");
    EXPECT_EQ(bias_of(b.masters()), bias_of(a.masters()));
    EXPECT_EQ(b.weights()->hash(), a.weights()->hash());
    for (uint64_t i = 3; i < 6; ++i) {
      const TrainStats x = a.train(random_batch(i, 8, 19)), y = b.train(random_batch(i, 8, 19));
      EXPECT_EQ(x.loss, y.loss);
      EXPECT_EQ(x.expert_load, y.expert_load);
    }
    EXPECT_EQ(b.masters_hash(), a.masters_hash());
    EXPECT_EQ(b.weights()->hash(), a.weights()->hash());
  }
}

TEST(DeepseekTrainer, GivesTheSameBitsForAnyNumberOfThreads) {
  Device& device = open_device("cpu");
  for (DType precision : {DType::f32, DType::bf16}) {
    std::vector<Hash128> hashes;
    for (int threads : {1, 2, 3}) {
      set_cpu_threads(threads);
      TrainerConfig c;
      c.optimizer = "muon";
      c.precision = precision;
      c.micro_batch_tokens = 64;
      TrainerEngine e(device, c, *random_weights(device, deepseek(), 2));
      for (uint64_t i = 0; i < 3; ++i) e.train(random_batch(i, 60, 19));
      hashes.push_back(e.masters_hash());
    }
    set_cpu_threads(0);
    EXPECT_EQ(hashes[0], hashes[1]);
    EXPECT_EQ(hashes[0], hashes[2]);
  }
}

TEST(DeepseekTrainer, LearnsSequencesByHeart) {
  Device& device = open_device("cpu");
  for (const ModelConfig& model : {deepseek(), tiny_deepseek_plain()}) {
    TrainerConfig c;
    c.optimizer = "muon";
    c.lr = 1e-2;
    c.schedule = Schedule::cosine;
    c.warmup_steps = 5;
    c.total_steps = 120;
    WeightSet start(device, model, DType::f32);
    initialize(start, 1);
    TrainerEngine e(device, c, start);
    TrainBatch batch = random_batch(2, 12, model.vocab_size);
    for (size_t i = 0; i < batch.sequences.size(); ++i) batch.sequences[i].tokens[0] = static_cast<int32_t>(i);
    EXPECT_NEAR(e.train(batch).loss, std::log(19.0), 0.4);
    for (int i = 1; i < 120; ++i) e.train(batch);
    EXPECT_LT(e.evaluate(batch).loss, 0.2);
  }
}

TEST(DeepseekTrainer, ARewardModelKeepsTheSelectionBias) {
  Device& device = open_device("cpu");
  TrainerConfig c;
  c.objective = Objective::reward_model;
  const auto start = random_weights(device, deepseek(), 1);
  TrainerEngine e(device, c, *start);
  EXPECT_EQ(bias_of(e.masters()), bias_of(*start));
  TrainBatch batch = random_batch(1, 8, 19);
  EXPECT_NEAR(e.evaluate(batch).loss, std::log(2.0), 1e-5);
  for (int i = 0; i < 30; ++i) e.train(batch);
  EXPECT_EQ(e.evaluate(batch).pair_accuracy, 1);
}

TEST(DeepseekTrainer, WholeStepsRunOnTheFakeDevice) {
  Device& device = open_device("fake");
  TrainerConfig c;
  c.optimizer = "muon";
  c.precision = DType::bf16;
  TrainerEngine e(device, c, *random_weights(device, deepseek(), 1));
  EXPECT_GT(e.train(random_batch(1, 6, 19)).loss, 0);
}

}  // namespace
}  // namespace r1::test
