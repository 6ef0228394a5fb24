// The grpo objective of TrainerEngine against the formulas of docs/recipe.md section 4, worked out in doubles from the engine's
// own log-probabilities.
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "base/error.h"
#include "tests/models/grpo_case.h"

namespace r1::test {
namespace {

TEST(Grpo, TakesTheSmallerOfPlainAndClippedTermPerToken) {
  // A = +1: 1.1 inside, 1.5 clipped to 1.28.  A = -2: 0.5 clipped to 0.8, 1.5 not clipped (it is the smaller one), 1.0 inside.
  GrpoCase c({1.1, 1.5, 0.5, 1.5, 1.0}, 1, -2);
  c.config.loss_mean = LossMean::token;
  TrainStats s = c.evaluate();
  EXPECT_NEAR(s.loss, -(1.1 + 1.28 - 2 * (0.8 + 1.5 + 1.0)) / 5, 1e-5);
  EXPECT_NEAR(s.clip_fraction, 2.0 / 5, 1e-9);
  EXPECT_NEAR(s.ratio_mean, (1.1 + 1.5 + 0.5 + 1.5 + 1.0) / 5, 1e-5);
  EXPECT_EQ(s.trained_tokens, 5);
  EXPECT_EQ(s.tokens, 12);
  c.config.loss_mean = LossMean::sequence;
  s = c.evaluate();
  EXPECT_NEAR(s.loss, -((1.1 + 1.28) / 2 - 2 * (0.8 + 1.5 + 1.0) / 3) / 2, 1e-5);
}

TEST(Grpo, AddsTheUnbiasedKlEstimatorTimesItsCoefficient) {
  GrpoCase c({1, 1, 1, 1, 1}, 1, 1);
  c.config.kl = 0.25;
  c.config.loss_mean = LossMean::token;
  const double delta[5] = {0.5, -0.3, 0, 1, -1};  // logp_ref - logp
  double k3 = 0;
  size_t next = 0;
  for (size_t i = 0; i < 2; ++i) {
    Sequence& s = c.batch.sequences[i];
    s.reference_logp.assign(s.tokens.size(), 0);
    for (size_t t = 0; t < s.tokens.size(); ++t) {
      if (!s.trainable[t]) continue;
      const double d = delta[next++];
      s.reference_logp[t] = static_cast<float>(c.logp[i][t] + d);
      k3 += std::exp(d) - d - 1;
    }
  }
  const TrainStats s = c.evaluate();
  EXPECT_NEAR(s.kl, k3 / 5, 1e-5);
  EXPECT_NEAR(s.loss, -1 + 0.25 * k3 / 5, 1e-5);
}

TEST(Grpo, TokensBeyondTheClipTeachNothing) {
  Hash128 after;
  GrpoCase clipped({1.5, 1.6, 0.5, 0.6, 0.7}, 1, -1);
  const TrainStats s = clipped.train_once(&after);
  EXPECT_EQ(s.grad_norm, 0);
  EXPECT_EQ(s.clip_fraction, 1);
  EXPECT_EQ(after, clipped.weights->hash());
  GrpoCase inside({1.1, 1.2, 0.9, 0.85, 1}, 1, -1);
  EXPECT_GT(inside.train_once(&after).grad_norm, 1e-3);
  EXPECT_NE(after, inside.weights->hash());
}

TEST(Grpo, DecoupledFormAnchorsTheRatioAtTheStartOfTheBatch) {
  // At the first step the ratio to the proximal policy is 1, nothing is clipped, and exp(proximal - behaviour), capped, weighs.
  GrpoCase c({1.5, 0.5, 3, 20, 1}, 1, -2);
  c.config.loss_mean = LossMean::token;
  c.config.decoupled = true;
  c.config.behave_cap = 5;
  const TrainStats s = c.train_once();
  EXPECT_NEAR(s.loss, -(1.5 + 0.5 - 2 * (3 + 5 + 1)) / 5, 1e-4);
  EXPECT_EQ(s.clip_fraction, 0);
  EXPECT_NEAR(s.ratio_mean, 1, 1e-6);
}

TEST(Grpo, EntropyIsThatOfTheTemperedDistribution) {
  GrpoCase c({1, 1, 1, 1, 1}, 1, 1);
  // A head of zeros makes every distribution uniform.
  const size_t head = c.weights->specs().size() - 1;
  upload(c.weights->param(head), std::vector<float>(static_cast<size_t>(c.weights->param(head).size()), 0.0f));
  EXPECT_NEAR(c.evaluate().entropy, std::log(19.0), 1e-5);
}

TEST(Grpo, LogprobGapIsZeroForExactTokensOfThisVersionAndShowsATamperedBit) {
  GrpoCase c({1, 1, 1, 1, 1}, 1, -1);
  for (size_t i = 0; i < 2; ++i) {
    Sequence& s = c.batch.sequences[i];
    s.behaviour_logp = c.logp[i];
    for (size_t t = 0; t < s.tokens.size(); ++t) s.version[t] = s.trainable[t] ? 0 : -1, s.exact[t] = s.trainable[t];
  }
  TrainStats s = c.train_once();
  EXPECT_EQ(s.logprob_gap.tokens, 5);
  EXPECT_EQ(s.logprob_gap.max, 0);
  Sequence& last = c.batch.sequences[1];
  last.exact.back() = 0;  // not comparable
  last.version[5] = 3;    // another version
  s = c.train_once();
  EXPECT_EQ(s.logprob_gap.tokens, 3);
  last.behaviour_logp[4] = std::nextafter(last.behaviour_logp[4], 1.0f);
  s = c.train_once();
  EXPECT_GT(s.logprob_gap.max, 0);
  EXPECT_LT(s.logprob_gap.max, 1e-6);
  EXPECT_EQ(s.logprob_gap.sequence, 1);
  EXPECT_EQ(s.logprob_gap.token, 4);
  EXPECT_EQ(s.logprob_gap.sampler, last.behaviour_logp[4]);
  EXPECT_EQ(s.logprob_gap.trainer, c.logp[1][4]);
  last.behaviour_logp[4] = NAN;
  c.config.clip_norm = 0;
  EXPECT_THROW(c.train_once(), Error) << "a NaN reaches the gradient's norm and stops the update";
}

TEST(Grpo, MiniBatchesAreOptimizerStepsOfOneVersion) {
  GrpoCase c({1.1, 1, 1, 1, 1}, 1, -2);
  c.config.mini_batches = 2;
  c.config.loss_mean = LossMean::sequence;
  TrainerEngine whole(c.device, c.config, *c.weights, 5);
  const TrainStats s = whole.train(c.batch);
  EXPECT_EQ(s.optimizer_steps, 2);
  EXPECT_EQ(whole.version(), 6);
  // The same as two batches of one sequence each.
  c.config.mini_batches = 1;
  TrainerEngine parts(c.device, c.config, *c.weights, 5);
  const double first = parts.train({{c.batch.sequences[0]}}).loss, second = parts.train({{c.batch.sequences[1]}}).loss;
  EXPECT_EQ(parts.masters_hash(), whole.masters_hash());
  EXPECT_NEAR(s.loss, (first + second) / 2, 1e-12);
}

// Six sequences, whose ratios to the sampler are 1.
TrainBatch six_sequences(const GrpoCase& c) {
  Rng rng(4, "six");
  TrainBatch batch;
  for (int i = 0; i < 6; ++i) {
    Sequence s = random_sequence(rng, 6 + i, c.model.vocab_size, 3);
    s.advantage = i % 2 == 0 ? 1.f : -1.5f;
    s.behaviour_logp = ScoringEngine(c.device, c.weights).logprobs({s}, kTemperature)[0];
    s.version.assign(s.tokens.size(), -1);
    s.exact.assign(s.tokens.size(), 0);
    batch.sequences.push_back(std::move(s));
  }
  return batch;
}

TEST(Grpo, ShuffledMiniBatchesAreThoseOfTheBatchInAnotherOrderEachVersion) {
  GrpoCase c({1, 1, 1, 1, 1}, 1, -1);
  const TrainBatch batch = six_sequences(c);
  c.config.mini_batches = 3;
  TrainerEngine in_order(c.device, c.config, *c.weights);
  in_order.train(batch);
  c.config.shuffle = true;
  c.config.shuffle_key = 17;
  std::set<std::string> seen = {in_order.masters_hash().hex()};
  for (int64_t version = 0; version < 3; ++version) {
    TrainerEngine shuffled(c.device, c.config, *c.weights, version);
    shuffled.train(batch);
    EXPECT_TRUE(seen.insert(shuffled.masters_hash().hex()).second) << "version " << version << " has the order of another one";
    std::vector<int64_t> order = {0, 1, 2, 3, 4, 5};
    Rng(rng_key(17, "mini-batches", static_cast<uint64_t>(version), 0)).shuffle(order);
    TrainBatch by_hand;
    for (const int64_t i : order) by_hand.sequences.push_back(batch.sequences[static_cast<size_t>(i)]);
    TrainerConfig plain = c.config;
    plain.shuffle = false;
    TrainerEngine expected(c.device, plain, *c.weights, version);
    expected.train(by_hand);
    EXPECT_EQ(shuffled.masters_hash(), expected.masters_hash());
  }
}

// A difference is reported by the number in the batch, whatever the order in which it was cut.
TEST(Grpo, AGapInAShuffledBatchNamesTheSequence) {
  GrpoCase c({1, 1, 1, 1, 1}, 1, -1);
  c.config.mini_batches = 3;
  c.config.shuffle = true;
  std::set<int64_t> named;
  TrainBatch plain = six_sequences(c);
  for (Sequence& s : plain.sequences)
    for (size_t t = 0; t < s.tokens.size(); ++t) s.version[t] = s.trainable[t] ? 0 : -1, s.exact[t] = s.trainable[t];
  for (uint64_t key = 0; key < 12; ++key) {
    c.config.shuffle_key = key;
    for (int64_t tampered = 0; tampered < 6; ++tampered) {
      TrainBatch batch = plain;
      batch.sequences[static_cast<size_t>(tampered)].behaviour_logp.back() -= 0.5f;
      const TrainStats stats = TrainerEngine(c.device, c.config, *c.weights).train(batch);
      if (stats.logprob_gap.max == 0) continue;  // it was not among the first mini-batch's
      EXPECT_EQ(stats.logprob_gap.sequence, tampered);
      named.insert(tampered);
    }
  }
  EXPECT_EQ(named.size(), 6u);
}

TEST(Grpo, TwoInnerEpochsAreTheSameBatchTwiceUnderTheSameOldPolicy) {
  GrpoCase c({1.1, 1, 1, 1, 1}, 1, -2);
  c.config.mini_batches = 2;
  c.config.inner_epochs = 2;
  TrainerEngine two(c.device, c.config, *c.weights);
  const TrainStats s = two.train(c.batch);
  EXPECT_EQ(s.optimizer_steps, 4);
  EXPECT_EQ(s.trained_tokens, 5);
  EXPECT_EQ(s.tokens, 12);
  EXPECT_EQ(two.version(), 1);
  c.config.inner_epochs = 1;
  TrainerEngine twice(c.device, c.config, *c.weights);
  twice.train(c.batch);
  twice.train(c.batch);
  EXPECT_EQ(two.masters_hash(), twice.masters_hash());
}

TEST(Grpo, EveryInnerEpochHasAnOrderOfMiniBatchesOfItsOwn) {
  GrpoCase c({1, 1, 1, 1, 1}, 1, -1);
  const TrainBatch batch = six_sequences(c);
  c.config.mini_batches = 3;
  TrainerConfig plain = c.config;
  c.config.shuffle = true;
  c.config.shuffle_key = 17;
  c.config.inner_epochs = 2;
  TrainerEngine two(c.device, c.config, *c.weights);
  two.train(batch);
  TrainerEngine by_hand(c.device, plain, *c.weights);
  for (const uint64_t epoch : {0, 1}) {
    std::vector<int64_t> order = {0, 1, 2, 3, 4, 5};
    Rng(rng_key(17, "mini-batches", 0, epoch)).shuffle(order);
    TrainBatch ordered;
    for (const int64_t i : order) ordered.sequences.push_back(batch.sequences[static_cast<size_t>(i)]);
    by_hand.train(ordered);
  }
  EXPECT_EQ(two.masters_hash(), by_hand.masters_hash());
}

TEST(Grpo, SilentSequencesAreCountedInTheMeanAndNowhereElse) {
  for (const LossMean mean : {LossMean::sequence, LossMean::token, LossMean::constant}) {
    GrpoCase c({1.1, 1.05, 0.95, 1, 1}, 1, -2);
    c.config.loss_mean = mean;
    c.config.longest_completion = 8;
    c.config.clip_norm = 0;
    const TrainStats alone = c.train_once();
    c.batch.silent_sequences = 6;
    c.batch.silent_tokens = 15;
    const TrainStats among = c.train_once();
    EXPECT_NEAR(among.grad_norm / alone.grad_norm, 0.25, 1e-5);  // 2 of 8 sequences, 5 of 20 tokens
    EXPECT_NEAR(among.loss / alone.loss, 0.25, 1e-5);
    EXPECT_EQ(among.trained_tokens, alone.trained_tokens);
  }
}

}  // namespace
}  // namespace r1::test
