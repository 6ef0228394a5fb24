// Generate, train, publish, generate: the trainer's own measure of P2 is zero over every token, version after version.
#include <gtest/gtest.h>

#include "models/version_delta.h"
#include "tests/kernels/test_devices.h"
#include "tests/models/generation/generation_helpers.h"

namespace r1 {
namespace {

using testing::generate;
using testing::random_model_config;
using testing::random_requests;
using testing::random_weights;

class OnPolicyLoop : public ::testing::TestWithParam<std::tuple<std::string, Architecture, DType>> {};

TEST_P(OnPolicyLoop, the_gap_between_generator_and_trainer_is_zero_after_every_published_delta) {
  const auto [name, architecture, dtype] = GetParam();
  Device& device = open_device(name);
  const bool slow = test::emulated(device);
  const ModelConfig config = random_model_config(architecture);
  TrainerConfig c;
  c.objective = Objective::grpo;
  c.precision = dtype;
  c.lr = 1e-3;
  c.micro_batch_tokens = 150;
  TrainerEngine trainer(device, c, *random_weights(device, config, DType::f32, 40));
  auto requests = random_requests(41, slow ? 3 : 10, static_cast<int32_t>(config.vocab_size));
  for (GenRequest& r : requests) r.temperature = 1;

  std::shared_ptr<const WeightSet> held = trainer.weights();
  GeneratorEngine generator(device, {.max_rows = 48, .max_running = 20}, held, trainer.version());
  for (int64_t version = 0; version < (slow ? 2 : 3); ++version) {
    for (GenRequest r : requests) {
      r.rng_key = rng_key(r.rng_key, "round", static_cast<uint64_t>(version));
      generator.submit(std::move(r));
    }
    testing::Results results;
    testing::run_to_end(generator, results);
    TrainBatch batch;
    int64_t tokens = 0;
    for (const auto& [id, r] : results) {
      for (size_t s = 0; s < r.samples.size(); ++s) {
        batch.sequences.push_back(r.samples[s]);
        batch.sequences.back().advantage = s % 2 == 0 ? 1.0f : -1.0f;
        for (const uint8_t t : r.samples[s].trainable) tokens += t;
      }
    }
    const TrainStats stats = trainer.train(batch);
    EXPECT_EQ(stats.logprob_gap.max, 0) << "version " << version;
    EXPECT_EQ(stats.logprob_gap.tokens, tokens);

    const auto next = trainer.weights();
    const VersionDelta delta = encode_delta(held.get(), version, *next, version + 1);
    const auto applied = apply_delta(held.get(), delta, config, device, dtype);
    EXPECT_EQ(applied->hash(), next->hash());
    EXPECT_NE(applied->hash(), held->hash()) << "training changed nothing";
    held = applied;
    generator.set_weights(held, version + 1);
  }
}

INSTANTIATE_TEST_SUITE_P(All, OnPolicyLoop,
                         ::testing::Combine(::testing::ValuesIn(test::test_devices()),
                                            ::testing::Values(Architecture::qwen2, Architecture::deepseek_v3),
                                            ::testing::Values(DType::f32, DType::bf16)),
                         [](const auto& info) {
                           return test::device_test_name(std::get<0>(info.param)) + "_" +
                                  testing::architecture_name(std::get<1>(info.param)) + "_" +
                                  dtype_name(std::get<2>(info.param));
                         });

}  // namespace
}  // namespace r1
