// Promise P2 through both engines: what the generator recorded is, bit for bit, what the trainer computes.
#include <gtest/gtest.h>

#include "models/generation/generator_engine.h"
#include "tests/models/tiny.h"

namespace r1::test {
namespace {

TrainBatch sample_batch(GeneratorEngine& generator, uint64_t first_id, float temperature) {
  Rng rng(first_id, "prompts");
  for (uint64_t i = 0; i < 6; ++i) {
    GenRequest r;
    r.id = first_id + i;
    r.rng_key = rng_key(17, "sample", r.id);
    r.prompt = random_sequence(rng, 2 + static_cast<int64_t>(rng.below(19)), 19, 0).tokens;
    r.samples = 4;
    r.max_new_tokens = 30;
    r.stop_ids = {1};
    r.temperature = temperature;
    generator.submit(r);
  }
  TrainBatch batch;
  while (generator.pending() > 0) {
    for (GenResult& result : generator.step()) {
      for (Sequence& s : result.samples) {
        s.advantage = static_cast<float>(rng.normal());
        batch.sequences.push_back(std::move(s));
      }
    }
  }
  return batch;
}

TEST(OnPolicy, TheTrainerComputesTheBitsThatTheGeneratorRecorded) {
  Device& device = open_device("cpu");
  for (const auto& [name, model] : tiny_configs()) {
    for (DType precision : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(name + " " + dtype_name(precision));
      TrainerConfig c;
      c.objective = Objective::grpo;
      c.precision = precision;
      c.temperature = 0.8;
      c.lr = 1e-2;
      c.micro_batch_tokens = 100;
      TrainerEngine trainer(device, c, *random_weights(device, model, 3));
      GeneratorConfig g;
      g.max_rows = 37;  // prompts arrive in pieces, decode batches change all the time
      g.max_running = 11;
      g.kv_pages = 200;
      GeneratorEngine generator(device, g, trainer.weights(), trainer.version());
      for (int version = 0; version < 3; ++version) {
        const TrainBatch batch = sample_batch(generator, static_cast<uint64_t>(version) * 100, 0.8f);
        int64_t new_tokens = 0;
        for (const Sequence& s : batch.sequences)
          for (uint8_t t : s.trainable) new_tokens += t;
        const TrainStats stats = trainer.train(batch);
        EXPECT_GT(new_tokens, 50);
        EXPECT_EQ(stats.logprob_gap.tokens, new_tokens);
        EXPECT_EQ(stats.logprob_gap.max, 0);
        EXPECT_GT(stats.grad_norm, 0);
        generator.set_weights(trainer.weights(), trainer.version());
      }
      // Weights of another version do not pass: the comparison can fail.
      GeneratorEngine other(device, g, random_weights(device, model, 4), trainer.version());
      if (precision == DType::f32) {
        EXPECT_GT(trainer.train(sample_batch(other, 900, 0.8f)).logprob_gap.max, 0);
      }
    }
  }
}

}  // namespace
}  // namespace r1::test
