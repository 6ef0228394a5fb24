// The published variants of GRPO (docs/grpo.md), each against an example small enough to be worked by hand: the op's loss and
// gradient on both devices, and the engine's normalisers.
#include <gtest/gtest.h>

#include <cmath>

#include "models/training/lane.h"
#include "tests/models/grpo_case.h"

namespace r1::test {
namespace {

// Tokens as an exercise gives them; `ratio` is exp(logp - anchor), `weight` mask and normaliser.
struct Exercise {
  std::vector<double> logp, ratio, advantage, weight;
  std::vector<double> behind;    // decoupled: exp(proximal - behaviour)
  std::vector<int32_t> offsets;  // ratio per sequence
};

struct Answer {
  double loss = 0;
  std::vector<float> dlogp;
  double clipped = 0;
};

Answer solve(const std::string& device, const Exercise& e, GrpoLoss op) {
  Context ctx(open_device(device));
  const auto upload_doubles = [&](const std::vector<double>& x) {
    return upload_f32(ctx, std::vector<float>(x.begin(), x.end()));
  };
  std::vector<double> anchor, behaviour;
  for (size_t i = 0; i < e.logp.size(); ++i) {
    anchor.push_back(e.logp[i] - std::log(e.ratio[i]));
    behaviour.push_back(e.behind.empty() ? anchor[i] : anchor[i] - std::log(e.behind[i]));
  }
  op.logp = upload_doubles(e.logp);
  op.behaviour = upload_doubles(behaviour);
  if (!e.behind.empty()) op.proximal = upload_doubles(anchor);
  op.advantage = upload_doubles(e.advantage);
  op.weight = upload_doubles(e.weight);
  if (!e.offsets.empty()) op.offsets = upload_i32(ctx, e.offsets);
  op.dlogp = ctx.arena.alloc(DType::f32, {static_cast<int64_t>(e.logp.size())});
  op.loss = upload_f32(ctx, {0});
  op.stats = upload_f32(ctx, std::vector<float>(6, 0));
  run(ctx, op);
  return {download_as<float>(op.loss)[0], download_as<float>(op.dlogp), download_as<float>(op.stats)[1]};
}

void expect_answer(const Exercise& e, const GrpoLoss& settings, double loss, const std::vector<double>& dlogp, double clipped) {
  for (const char* device : {"reference", "cpu"}) {
    const Answer a = solve(device, e, settings);
    EXPECT_NEAR(a.loss, loss, 1e-6) << device;
    ASSERT_EQ(a.dlogp.size(), dlogp.size());
    for (size_t i = 0; i < dlogp.size(); ++i) EXPECT_NEAR(a.dlogp[i], dlogp[i], 1e-6) << device << " token " << i;
    EXPECT_EQ(a.clipped, clipped) << device;
  }
}

// Two tokens of advantage 1 with ratios 1.25 and 1.5. Bounds 0.8 and 1.2 clip both: -(1.2 + 1.2) / 2 and no gradient. With the
// upper bound at 1.28 the first one learns: -(1.25 + 1.28) / 2, gradient -1.25 / 2. Below, nothing has moved: 0.75 with
// advantage -1 is clipped either way.
TEST(GrpoVariants, DapoClipHigherLetsLikelierTokensLearnLonger) {
  const Exercise e = {{-1, -2, -1}, {1.25, 1.5, 0.75}, {1, 1, -1}, {0.5, 0.5, 0.5}, {}, {}};
  GrpoLoss op;
  expect_answer(e, op, -(1.2 + 1.2 - 0.8) / 2, {0, 0, 0}, 3);
  op.clip_high = 0.28f;
  expect_answer(e, op, -(1.25 + 1.28 - 0.8) / 2, {-0.625, 0, 0}, 2);
}

// Three sequences of 2, 3 and 3 tokens, advantages 1, 1, -1, weights 1 / (3 |o|). Token ratios 2 and 0.5 make the sequence's
// ratio 1; 4, 1, 2 make the cube root of 8 = 2. Bounds 0.8 and 1.2:
//   first  min(1, 1) = 1;  second  min(2, 1.2) = 1.2, clipped;  third  min(-2, -1.2) = -2, not clipped.
//   loss = -(1 + 1.2 - 2) / 3;  dlogp = -weight s A: -1/6 each, 0, +2/9 each.
// By tokens the first sequence would lose the gradient of its likelier token and keep half of the other's.
TEST(GrpoVariants, GspoClipsWholeSequencesAtTheGeometricMeanOfTheirRatios) {
  Exercise e;
  e.logp = {-1, -2, -0.5, -1, -3, -1, -1, -2};
  e.ratio = {2, 0.5, 4, 1, 2, 1, 2, 4};
  e.advantage = {1, 1, 1, 1, 1, -1, -1, -1};
  e.weight = {1.0 / 6, 1.0 / 6, 1.0 / 9, 1.0 / 9, 1.0 / 9, 1.0 / 9, 1.0 / 9, 1.0 / 9};
  e.offsets = {0, 2, 5, 8};
  const GrpoLoss op;
  expect_answer(e, op, -(1 + 1.2 - 2) / 3, {-1.0 / 6, -1.0 / 6, 0, 0, 0, 2.0 / 9, 2.0 / 9, 2.0 / 9}, 3);
  e.offsets.clear();
  const Answer by_token = solve("cpu", e, op);
  EXPECT_EQ(by_token.dlogp[0], 0);
  EXPECT_NEAR(by_token.dlogp[1], -0.5 / 6, 1e-6);
}

// A token that does not count (weight 0) is no part of its sequence's ratio: 2 and 0.5 make 1, the 100 between is not there.
TEST(GrpoVariants, GspoLeavesMaskedTokensOutOfTheRatio) {
  const Exercise e = {{-1, -1, -2}, {2, 100, 0.5}, {1, 1, 1}, {0.5, 0, 0.5}, {}, {0, 3}};
  expect_answer(e, GrpoLoss{}, -1, {-0.5, 0, -0.5}, 0);
}

// Ratios 1.5, 0.5, 1.1 become weights 1.28, 0.8, 1.1 in front of A logp, a third each:
//   loss = -(1.28 * 1 * -1 + 0.8 * -2 * -2 + 1.1 * 1 * -0.5) / 3 = -1.37 / 3;  dlogp = -weight A / 3, no token without.
// The clipped form would teach nothing with the first two.
TEST(GrpoVariants, CispoKeepsTheGradientOfEveryTokenWithAClippedWeight) {
  const Exercise e = {{-1, -2, -0.5}, {1.5, 0.5, 1.1}, {1, -2, 1}, {1.0 / 3, 1.0 / 3, 1.0 / 3}, {}, {}};
  GrpoLoss op;
  op.clip_high = 0.28f;
  op.cispo = true;
  expect_answer(e, op, -1.37 / 3, {-1.28 / 3, 1.6 / 3, -1.1 / 3}, 2);
  op.cispo = false;
  const Answer ppo = solve("cpu", e, op);
  EXPECT_EQ(ppo.dlogp[0], 0);
  EXPECT_EQ(ppo.dlogp[1], 0);
}

// The trainer's own probabilities are 3 and 0.5 times the sampler's; since then they have grown by 1.1. Weights min(3, 2) and
// 0.5 in front of the clipped term: loss = -(2 * 1.1 + 0.5 * 1.1) / 2. The ratio that is clipped is 1.1, not 3.3. Masked
// importance sampling gives the first token nothing.
TEST(GrpoVariants, TruncatedImportanceSamplingWeighsTheClippedTermByACappedRatio) {
  const Exercise e = {{-1, -2}, {1.1, 1.1}, {1, 1}, {0.5, 0.5}, {3, 0.5}, {}};
  GrpoLoss op;
  op.behave_cap = 2;
  expect_answer(e, op, -(2.2 + 0.55) / 2, {-1.1, -0.275}, 0);
  op.behave_mask = true;
  expect_answer(e, op, -0.55 / 2, {0, -0.275}, 0);
}

// With one ratio per sequence the importance weight is one per sequence, too: sqrt(8 * 0.5) = 2, capped at 1.5; sqrt(1.1 *
// 1.1).
TEST(GrpoVariants, TruncatedImportanceSamplingOfSequencesCapsTheirGeometricMean) {
  const Exercise e = {{-1, -2}, {1.1, 1.1}, {1, 1}, {0.5, 0.5}, {8, 0.5}, {0, 2}};
  GrpoLoss op;
  op.behave_cap = 1.5f;
  expect_answer(e, op, -1.5 * 1.1, {-1.5 * 1.1 / 2, -1.5 * 1.1 / 2}, 0);
}

// Two sequences of 2 and 3 tokens with advantages 1 and -2, on policy: every token's term is its advantage.
//   per token      -(2 - 6) / 5
//   per sequence   -(1 - 2) / 2
//   constant, completions of at most 10 tokens (Dr.GRPO)   -(2 - 6) / (2 * 10)
TEST(GrpoVariants, DrGrpoDividesByTheLongestCompletionInsteadOfEachLength) {
  GrpoCase c({1, 1, 1, 1, 1}, 1, -2);
  c.config.loss_mean = LossMean::token;
  EXPECT_NEAR(c.evaluate().loss, 0.8, 1e-5);
  c.config.loss_mean = LossMean::sequence;
  EXPECT_NEAR(c.evaluate().loss, 0.5, 1e-5);
  c.config.loss_mean = LossMean::constant;
  c.config.longest_completion = 10;
  EXPECT_NEAR(c.evaluate().loss, 0.2, 1e-5);
  // So a long sequence's tokens pull as hard as a short one's: the gradient is 5/20 of the mean over tokens.
  c.config.clip_norm = 0;
  const double constant = c.train_once().grad_norm;
  c.config.loss_mean = LossMean::token;
  EXPECT_NEAR(constant, c.train_once().grad_norm * 5 / 20, 1e-4 * constant);
}

// The sequences of the GSPO exercise in the engine: ratios 1 and 2, advantages 1 and 1, upper bound 1.28.
TEST(GrpoVariants, GspoInTheEngine) {
  GrpoCase c({2, 0.5, 4, 1, 2}, 1, 1);
  c.config.ratio = Ratio::sequence;
  const TrainStats s = c.evaluate();
  EXPECT_NEAR(s.loss, -(1 + 1.28) / 2, 1e-5);
  EXPECT_NEAR(s.clip_fraction, 3.0 / 5, 1e-9);
  EXPECT_NEAR(s.ratio_mean, (2 * 1 + 3 * 2) / 5.0, 1e-5);
}

TEST(GrpoVariants, CispoInTheEngine) {
  GrpoCase c({1.5, 0.5, 1.1, 1, 1}, 1, -1);
  c.config.clip = Clip::cispo;
  c.config.loss_mean = LossMean::token;
  double expected = 0;
  const double weight[5] = {1.28, 0.8, -1.1, -1, -1};  // clipped ratio times advantage
  size_t next = 0;
  for (size_t i = 0; i < 2; ++i)
    for (size_t t = 0; t < c.logp[i].size(); ++t)
      if (c.batch.sequences[i].trainable[t]) expected -= weight[next++] * c.logp[i][t] / 5;
  EXPECT_NEAR(c.evaluate().loss, expected, 1e-5);
  EXPECT_NEAR(c.evaluate().clip_fraction, 2.0 / 5, 1e-9);
}

// Logits of a large vocabulary never exist all at once: then GSPO runs the head twice. Nothing but memory may change.
TEST(GrpoVariants, GspoDoesNotDependOnHowTheHeadIsCut) {
  Device& device = open_device("cpu");
  const ModelConfig model = tiny_config(Architecture::llama);
  const auto weights = random_weights(device, model, 3);
  TrainBatch batch = random_batch(21, 12, model.vocab_size);
  const auto logp = ScoringEngine(device, weights).logprobs(batch.sequences, 1);
  Rng rng(4, "stale");
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    Sequence& s = batch.sequences[i];
    s.advantage = static_cast<float>(rng.normal());
    for (size_t t = 0; t < s.tokens.size(); ++t)
      s.behaviour_logp.push_back(logp[i][t] + static_cast<float>(0.3 * rng.normal()));
  }
  TrainerConfig config;
  config.objective = Objective::grpo;
  config.ratio = Ratio::sequence;
  config.clip_low = config.clip_high = 0.1;
  const auto train = [&](int64_t logit_elements) {
    config.logit_elements = logit_elements;
    return TrainerEngine(device, config, *weights).train(batch);
  };
  const TrainStats whole = train(kLogitElements), cut = train(1);
  EXPECT_GT(whole.trained_tokens, 4 * 16) << "the test is vacuous: 16 rows is the smallest chunk";
  EXPECT_GT(whole.clip_fraction, 0);
  EXPECT_LT(whole.clip_fraction, 1);
  EXPECT_EQ(cut.loss, whole.loss);
  EXPECT_EQ(cut.clip_fraction, whole.clip_fraction);
  EXPECT_EQ(cut.entropy, whole.entropy);
  EXPECT_NEAR(cut.grad_norm, whole.grad_norm, 1e-5 * whole.grad_norm);
  EXPECT_GT(whole.grad_norm, 0);
}

}  // namespace
}  // namespace r1::test
