// Two sequences with chosen importance ratios for tests of the grpo objective, on a tiny model.
#pragma once

#include <cmath>
#include <vector>

#include "models/training/scoring_engine.h"
#include "tests/models/tiny.h"

namespace r1::test {

inline constexpr double kTemperature = 0.8;

struct GrpoCase {
  Device& device = open_device("reference");
  ModelConfig model = tiny_config(Architecture::llama);
  std::shared_ptr<WeightSet> weights = random_weights(device, model, 3);
  TrainerConfig config;
  TrainBatch batch;
  std::vector<std::vector<float>> logp;  // under `weights`

  // Two sequences of 2 and 3 trainable tokens. `ratios`: what exp(logp - behaviour) shall be for the five tokens.
  explicit GrpoCase(std::vector<double> ratios, double advantage0, double advantage1) {
    config.objective = Objective::grpo;
    config.temperature = kTemperature;
    config.clip_low = 0.2;
    config.clip_high = 0.28;
    Rng rng(9, "grpo case");
    batch.sequences = {random_sequence(rng, 5, model.vocab_size, 3), random_sequence(rng, 7, model.vocab_size, 4)};
    batch.sequences[0].advantage = static_cast<float>(advantage0);
    batch.sequences[1].advantage = static_cast<float>(advantage1);
    logp = ScoringEngine(device, weights).logprobs(batch.sequences, kTemperature);
    size_t next = 0;
    for (size_t i = 0; i < 2; ++i) {
      Sequence& s = batch.sequences[i];
      s.behaviour_logp.assign(s.tokens.size(), 0);
      s.version.assign(s.tokens.size(), -1);
      s.exact.assign(s.tokens.size(), 0);
      for (size_t t = 0; t < s.tokens.size(); ++t)
        if (s.trainable[t]) s.behaviour_logp[t] = logp[i][t] - static_cast<float>(std::log(ratios.at(next++)));
    }
  }
  TrainStats evaluate() { return TrainerEngine(device, config, *weights).evaluate(batch); }
  TrainStats train_once(Hash128* after = nullptr) {
    TrainerEngine e(device, config, *weights);
    const TrainStats s = e.train(batch);
    if (after) *after = e.masters_hash();
    return s;
  }
};

}  // namespace r1::test
