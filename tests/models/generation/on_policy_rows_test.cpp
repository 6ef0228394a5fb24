// P2 on every device: a sampled token has the bits of the packed forward, whatever was sampled beside it.
#include <gtest/gtest.h>

#include "models/generation/generator_engine.h"
#include "tests/kernels/test_devices.h"
#include "tests/models/generation/generation_helpers.h"

namespace r1 {
namespace {

using testing::expect_equal_to_packed;
using testing::expect_same_bits;
using testing::generate;
using testing::random_model_config;
using testing::random_requests;
using testing::random_weights;
using testing::Results;
using testing::run_to_end;
using testing::take;

struct Setting {
  std::string device;
  Architecture architecture;
  DType dtype;
};
std::string setting_name(const ::testing::TestParamInfo<Setting>& info) {
  return test::device_test_name(info.param.device) + "_" + testing::architecture_name(info.param.architecture) + "_" +
         dtype_name(info.param.dtype);
}

class OnPolicy : public ::testing::TestWithParam<Setting> {};

TEST_P(OnPolicy, a_token_depends_on_neither_its_batch_nor_pages_nor_order_and_equals_the_packed_forward) {
  const Setting p = GetParam();
  Device& device = open_device(p.device);
  const ModelConfig config = random_model_config(p.architecture);
  const auto weights = random_weights(device, config, p.dtype, 11);
  const bool slow_device = p.device != "cpu", slowest = test::emulated(device);
  const auto requests = random_requests(5, slowest ? 3 : slow_device ? 6 : 14, static_cast<int32_t>(config.vocab_size));

  const Results alone = generate(device, weights, {.max_rows = 1, .max_running = 1}, requests);
  EXPECT_GT(expect_equal_to_packed(device, {{0, weights}}, requests, alone), slowest ? 20 : slow_device ? 50 : 200);

  int64_t recomputed = 0;
  for (uint64_t trial = 0; trial < (slow_device ? 2u : 8u); ++trial) {
    Rng rng(trial, "trial");
    GeneratorConfig c;
    c.max_rows = trial == 0 ? 256 : 1 + static_cast<int64_t>(rng.below(60));
    c.max_running = trial == 0 ? 256 : 1 + static_cast<int64_t>(rng.below(20));
    // The longest request takes 5 pages; a handful more means constant preemption.
    c.kv_pages = trial % 2 == 0 ? 0 : 5 + static_cast<int64_t>(rng.below(12));
    c.page_shuffle_seed = trial;
    c.shards = static_cast<int64_t>(trial) % 5;
    if (trial % 2 == 0) c.small_parameters = 0;  // the shards meet in every layer
    auto shuffled = requests;
    if (trial > 0) rng.shuffle(shuffled);
    set_cpu_threads(trial % 3 == 1 ? 1 : 0);
    GeneratorEngine engine(device, c, weights, 0);
    Results results;
    for (const GenRequest& r : shuffled) {
      engine.submit(r);
      for (uint64_t steps = trial == 0 ? 0 : rng.below(6); steps > 0; --steps) take(results, engine.step());
    }
    run_to_end(engine, results);
    recomputed += engine.stats().tokens_recomputed;
    set_cpu_threads(0);
    expect_same_bits(alone, results, "trial " + std::to_string(trial));
    for (const auto& [id, r] : results)
      for (const Sequence& s : r.samples)
        for (size_t t = 0; t < s.tokens.size(); ++t) EXPECT_EQ(s.exact[t], s.trainable[t]);
  }
  EXPECT_TRUE(recomputed > 0 || slowest) << "no trial preempted anything";
}

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const std::string& device : test::test_devices())
    for (const Architecture a : {Architecture::llama, Architecture::qwen2, Architecture::qwen3, Architecture::deepseek_v3})
      for (const DType t : {DType::f32, DType::bf16})
        if (device == "cpu" || (t == DType::f32) == (a == Architecture::qwen2)) all.push_back({device, a, t});
  if (all.front().device != "cpu") return all;
  all.push_back({"fake", Architecture::deepseek_v3, DType::bf16});
  all.push_back({"reference", Architecture::qwen2, DType::bf16});
  all.push_back({"reference", Architecture::qwen3, DType::f32});
  all.push_back({"fake", Architecture::llama, DType::bf16});
  all.push_back({"fake", Architecture::qwen3, DType::f32});
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, OnPolicy, ::testing::ValuesIn(settings()), setting_name);

}  // namespace
}  // namespace r1
