// Whole models against finite differences, on the reference device (f64 arithmetic, f32 storage).
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "models/training/objective.h"
#include "tests/models/tiny.h"

namespace r1::test {
namespace {

using Loss = std::function<double(const WeightSet&)>;

// f(w + h u) for one parameter, restored afterwards.
double loss_at(const WeightSet& w, size_t param, const std::vector<float>& base, const std::vector<double>& u, double h,
               const Loss& f) {
  std::vector<float> moved(base.size());
  for (size_t i = 0; i < base.size(); ++i) moved[i] = static_cast<float>(base[i] + h * u[i]);
  upload(w.param(param), moved);
  const double y = f(w);
  upload(w.param(param), base);
  return y;
}

// Central difference, two step sizes combined so that the error is of fourth order.
double slope(const WeightSet& w, size_t param, const std::vector<float>& base, const std::vector<double>& u, const Loss& f) {
  const auto d = [&](double h) { return (loss_at(w, param, base, u, h, f) - loss_at(w, param, base, u, -h, f)) / (2 * h); };
  constexpr double h = 0.04;
  return (4 * d(h / 2) - d(h)) / 3;
}

std::vector<double> unit(std::vector<double> u) {
  double norm = 0;
  for (double x : u) norm += x * x;
  for (double& x : u) x /= std::sqrt(norm);
  return u;
}

void expect_gradients(const std::string& name, const WeightSet& w, const Gradients& g, bool mtp, const Loss& f) {
  Rng rng(7, name);
  for (size_t i = 0; i < w.specs().size(); ++i) {
    if (w.specs()[i].role == ParamRole::selection_bias) continue;  // its slot holds a load
    if (w.specs()[i].mtp && !mtp) continue;
    SCOPED_TRACE(name + ": " + w.specs()[i].name);
    const std::vector<float> base = download_as<float>(w.param(i)), grad = download_as<float>(g.param(static_cast<int>(i)));
    std::vector<double> along(grad.begin(), grad.end()), random(grad.size());
    double norm = 0;
    for (double x : along) norm += x * x;
    norm = std::sqrt(norm);
    ASSERT_GT(norm, 1e-5) << "the test must exercise every parameter";
    // Along the gradient the slope is its norm: a wrong component shows. Losses carry about 1e-6 of f32 noise.
    EXPECT_NEAR(slope(w, i, base, unit(along), f), norm, 2e-4 + 5e-3 * norm);
    for (double& x : random) x = rng.normal();
    random = unit(random);
    double expected = 0;
    for (size_t k = 0; k < grad.size(); ++k) expected += random[k] * grad[k];
    EXPECT_NEAR(slope(w, i, base, random, f), expected, 2e-4 + 5e-3 * norm);
  }
}

// The loss jumps where a token changes its experts, so finite differences need a choice that stays: by biases far apart, or of
// all experts.
void fix_routing(ModelConfig& config) {
  if (!config.moe.selection_bias) config.moe.per_token = config.moe.experts;
}
void fix_routing(const WeightSet& w) {
  for (size_t i = 0; i < w.specs().size(); ++i) {
    if (w.specs()[i].role != ParamRole::selection_bias) continue;
    std::vector<float> bias(static_cast<size_t>(w.param(i).size()));
    for (size_t e = 0; e < bias.size(); ++e) bias[e] = static_cast<float>(2 * (5 * e % bias.size()));
    upload(w.param(i), bias);
  }
}

void check_objective(Device& device, const std::string& name, ModelConfig config, const TrainerConfig& trainer,
                     TrainBatch batch, double head_std) {
  fix_routing(config);
  const auto w = random_weights(device, config, 3, head_std);
  fix_routing(*w);
  const Model model(device, config);
  Lane lane(device);
  LossPlan plan;
  plan.config = &trainer;
  plan.sequences = batch.sequences;
  plan.sequence_weight.assign(batch.sequences.size(), 0.05f);
  if (trainer.mtp) plan.mtp_weight = 0.04f;
  const std::vector<MicroBatch> packs = pack(batch.sequences, pack_rules(trainer, 1));
  ASSERT_EQ(packs.size(), 1u);
  const auto run_once = [&](bool learn) {
    lane.tape.clear();
    lane.ctx.arena.reset();
    LossTotals t;
    run_loss(lane, model, *w, packs[0], plan, learn, t);
    return t.loss + t.mtp_loss;
  };
  run_once(true);
  expect_gradients(name, *w, *lane.grads, trainer.mtp, [&](const WeightSet&) { return run_once(false); });
}

TEST(ModelGradient, OfEveryParameterOfEveryArchitectureAgreesWithFiniteDifferences) {
  for (const auto& [name, config] : tiny_configs()) {
    TrainerConfig t;
    t.objective = Objective::pretrain;
    t.mtp = config.has_mtp();
    check_objective(open_device("reference"), name, config, t, random_batch(11, 4, config.vocab_size), 0.3);
  }
}

TEST(ModelGradient, OfSftWithMaskedTokensAgreesWithFiniteDifferences) {
  TrainerConfig t;
  t.objective = Objective::sft;
  const ModelConfig c = tiny_config(Architecture::qwen3);
  check_objective(open_device("reference"), "sft", c, t, random_batch(12, 4, c.vocab_size), 0.3);
}

TEST(ModelGradient, OfGrpoWithKlAndTemperatureAgreesWithFiniteDifferences) {
  TrainerConfig t;
  t.objective = Objective::grpo;
  t.temperature = 0.7;
  t.kl = 0.1;
  t.clip_low = t.clip_high = 10;  // no kinks within the steps of the differences
  const ModelConfig c = tiny_config(Architecture::llama);
  TrainBatch batch = random_batch(13, 4, c.vocab_size);
  add_scores(batch, Rng(5, "grpo"));
  check_objective(open_device("reference"), "grpo", c, t, batch, 0.3);
  // One ratio per sequence, with fewer rows in a chunk of the head than there are: every chunk needs what the others give.
  t.ratio = Ratio::sequence;
  t.logit_elements = 1;
  check_objective(open_device("reference"), "grpo by sequence", c, t, batch, 0.3);
}

TEST(ModelGradient, OfPreferencePairsAgreesWithFiniteDifferences) {
  TrainerConfig t;
  t.objective = Objective::reward_model;
  t.score_l2 = 0.1;
  ModelConfig c = tiny_config(Architecture::qwen2);
  c.scalar_head = true;
  check_objective(open_device("reference"), "pairs", c, t, random_batch(14, 4, c.vocab_size), 0.8);
}

}  // namespace
}  // namespace r1::test
