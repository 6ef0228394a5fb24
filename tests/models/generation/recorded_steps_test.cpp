// Decode steps that a recording issues: the same bits, whatever else changes between two of them.
#include <gtest/gtest.h>

#include "tests/kernels/test_devices.h"
#include "tests/models/generation/generation_helpers.h"

namespace r1 {
namespace {

using testing::expect_equal_to_packed;
using testing::random_model_config;
using testing::random_weights;
using testing::Results;
using testing::run_to_end;
using testing::take;

std::vector<std::string> recording_devices() {
  std::vector<std::string> names = test::test_devices();
  if (names.front() == "cpu") names.front() = "fake";
  return names;
}

class RecordedSteps : public ::testing::TestWithParam<std::tuple<std::string, Architecture>> {
 protected:
  Device& device = open_device(std::get<0>(GetParam()));
  ModelConfig config = random_model_config(std::get<1>(GetParam()));

  static GenRequest request(uint64_t id, size_t prompt, int samples, int64_t tokens) {
    GenRequest r;
    r.id = id;
    r.rng_key = rng_key(7, "draw", id);
    for (size_t i = 0; i < prompt; ++i) r.prompt.push_back(static_cast<int32_t>((id + 3 * i) % 17));
    r.samples = samples;
    r.max_new_tokens = tokens;
    return r;
  }
};

// The KV cache begins with room for 64 pages; 30 samples of 50 tokens need more, and their number shrinks from one filled step
// to the next as they end.
TEST_P(RecordedSteps, have_the_bits_of_the_packed_forward_while_weights_cache_and_rows_change) {
  const bool slow = test::emulated(device);
  std::map<int64_t, std::shared_ptr<const WeightSet>> versions;
  for (const int64_t v : {10, 11, 12}) versions[v] = random_weights(device, config, DType::bf16, static_cast<uint64_t>(v));
  GeneratorEngine engine(device, {.on_flip = OnFlip::finish}, versions[10], 10);
  std::vector<GenRequest> requests;
  for (uint64_t id = 0; id < (slow ? 2u : 8u); ++id)
    requests.push_back(request(id, 5 + 7 * id, 3 + static_cast<int>(id % 3), slow ? 12 : 20 + 4 * static_cast<int64_t>(id)));
  Results results;
  for (size_t i = 0; i < requests.size(); ++i) {
    engine.submit(requests[i]);
    if (i % 2 == 1)
      for (int steps = 0; steps < 6; ++steps) take(results, engine.step());
    if (i == 1) engine.set_weights(versions[11], 11);
    if (i == requests.size() - 1) engine.set_weights(versions[12], 12);
  }
  requests.push_back(request(100, 3, 5, 20));
  requests.push_back(request(101, 4, 5, slow ? 30 : 90));
  for (size_t i = requests.size() - 2; i < requests.size(); ++i) engine.submit(requests[i]);
  run_to_end(engine, results);
  EXPECT_GT(engine.stats().steps_replayed, engine.stats().steps / 4) << "of " << engine.stats().steps;
  EXPECT_GT(expect_equal_to_packed(device, versions, requests, results), slow ? 150 : 500);
}

TEST_P(RecordedSteps, do_not_mix_requests_that_are_sampled_in_different_ways) {
  if (test::emulated(device)) GTEST_SKIP() << "no matter of the card";
  const auto weights = random_weights(device, config, DType::bf16, 3);
  const auto alone = [&](uint64_t id, int top_k) {
    GenRequest r = request(id, 4, 2, 16);
    r.top_k = top_k;
    return r;
  };
  const auto tokens = [&](const std::vector<GenRequest>& requests) {
    std::map<uint64_t, std::vector<int32_t>> all;
    GeneratorEngine engine(device, {}, weights, 0);
    for (int round = 0; round < 2; ++round)  // one after the other: the steps of both have the same rows
      for (const GenRequest& r : requests) {
        engine.submit(r);
        Results results;
        run_to_end(engine, results);
        all[r.id] = results.at(r.id).samples[0].tokens;
      }
    EXPECT_GT(engine.stats().steps_replayed, 0);
    return all;
  };
  const auto both = tokens({alone(1, 0), alone(2, 1)});
  EXPECT_EQ(both.at(1), tokens({alone(1, 0)}).at(1));
  EXPECT_EQ(both.at(2), tokens({alone(2, 1)}).at(2));
}

INSTANTIATE_TEST_SUITE_P(All, RecordedSteps,
                         ::testing::Combine(::testing::ValuesIn(recording_devices()),
                                            ::testing::Values(Architecture::qwen3, Architecture::deepseek_v3)),
                         [](const auto& info) {
                           return test::device_test_name(std::get<0>(info.param)) + "_" +
                                  testing::architecture_name(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace r1
