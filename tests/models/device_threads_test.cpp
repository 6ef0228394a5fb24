// Engines whose every call comes from another thread, on the device that ends the program when a thread touches what another
// one has not finished: what a call has issued is done when it returns, and so is what it returns.
#include <gtest/gtest.h>

#include <thread>

#include "kernels/fake/fake_device.h"
#include "models/generation/generator_engine.h"
#include "models/version_delta.h"
#include "models/training/scoring_engine.h"
#include "tests/models/tiny.h"

namespace r1::test {
namespace {

template <class F>
auto elsewhere(F&& f) {
  decltype(f()) result;
  std::thread([&] { result = f(); }).join();
  return result;
}

class DeviceThreads : public ::testing::TestWithParam<Architecture> {
 protected:
  Device& device = open_device("fake");
  ModelConfig model = tiny_config(GetParam());
};

TEST_P(DeviceThreads, may_share_an_engine_one_after_the_other) {
  TrainerConfig c;
  c.precision = DType::bf16;
  c.optimizer = "muon";
  c.micro_batch_tokens = 40;  // several lanes
  const auto start = elsewhere([&] {
    auto w = std::make_shared<WeightSet>(device, model, DType::f32);
    initialize(*w, 1);
    return w;
  });
  const auto trainer = elsewhere([&] { return std::make_unique<TrainerEngine>(device, c, *start); });
  const TrainBatch batch = random_batch(1, 9, model.vocab_size);
  EXPECT_GT(elsewhere([&] { return trainer->train(batch); }).loss, 0);
  EXPECT_GT(elsewhere([&] { return trainer->train(batch); }).loss, 0);
  EXPECT_GT(elsewhere([&] { return trainer->evaluate(batch); }).loss, 0);
  EXPECT_EQ(elsewhere([&] { return trainer->masters_hash(); }), trainer->masters_hash());

  const auto weights = elsewhere([&] { return trainer->weights(); });
  const Hash128 hash = elsewhere([&] { return weights->hash(); });
  EXPECT_EQ(hash, weights->hash());
  const VersionDelta delta = elsewhere([&] { return encode_delta(nullptr, -1, *weights, 2); });
  const auto applied = elsewhere([&] { return apply_delta(nullptr, delta, model, device, DType::bf16); });
  EXPECT_EQ(elsewhere([&] { return applied->hash(); }), hash);

  const auto scorer = elsewhere([&] { return std::make_unique<ScoringEngine>(device, applied); });
  const auto logp = elsewhere([&] { return scorer->logprobs(batch.sequences, 1); });
  EXPECT_EQ(logp, scorer->logprobs(batch.sequences, 1));

  const auto generator = elsewhere([&] { return std::make_unique<GeneratorEngine>(device, GeneratorConfig{}, applied, 2); });
  for (uint64_t i = 0; i < 3; ++i) {
    GenRequest r;
    r.id = r.rng_key = i;
    r.prompt = {1, 2, 3};
    r.samples = 5;
    r.max_new_tokens = 30;
    generator->submit(r);
  }
  size_t results = 0;
  for (int steps = 0; generator->pending() > 0 && steps < 100; ++steps) {
    if (steps == 10) generator->set_weights(weights, 3);
    results += elsewhere([&] { return generator->step(); }).size();
  }
  EXPECT_EQ(results, 3u);
}

INSTANTIATE_TEST_SUITE_P(All, DeviceThreads, ::testing::Values(Architecture::qwen2, Architecture::deepseek_v3),
                         [](const auto& info) {
                           return std::string(info.param == Architecture::qwen2 ? "qwen2" : "deepseek_v3");
                         });

}  // namespace
}  // namespace r1::test
