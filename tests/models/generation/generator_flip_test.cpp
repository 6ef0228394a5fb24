// New weights while sequences are running: what each OnFlip policy promises about versions and exactness.
#include <gtest/gtest.h>

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

using Versions = std::map<int64_t, std::shared_ptr<const WeightSet>>;

class Flip : public ::testing::TestWithParam<DType> {
 protected:
  Device& device = open_device("cpu");
  ModelConfig config = random_model_config(Architecture::qwen3);
  Versions versions = {{10, random_weights(device, config, GetParam(), 1)},
                       {11, random_weights(device, config, GetParam(), 2)}};
  std::vector<GenRequest> requests = random_requests(4, 8, static_cast<int32_t>(config.vocab_size));

  Results run_with_flip(GeneratorConfig c, int steps_before, GeneratorStats* stats = nullptr) {
    GeneratorEngine engine(device, c, versions[10], 10);
    for (const GenRequest& r : requests) engine.submit(r);
    Results results;
    for (int i = 0; i < steps_before; ++i) take(results, engine.step());
    engine.set_weights(versions[11], 11);
    EXPECT_EQ(engine.version(), 11);
    run_to_end(engine, results);
    if (stats != nullptr) *stats = engine.stats();
    return results;
  }
  // (tokens of version 10, of 11, samples with both)
  struct Count {
    int64_t before = 0, after = 0, both = 0;
  };
  static Count count(const Results& results) {
    Count c;
    for (const auto& [id, r] : results) {
      for (const Sequence& s : r.samples) {
        int64_t before = 0, after = 0, last = 10;
        for (const int64_t v : s.version) {
          if (v < 0) continue;
          EXPECT_GE(v, last) << "versions never go back";
          last = v;
          ++(v == 10 ? before : after);
        }
        c.before += before, c.after += after, c.both += before > 0 && after > 0;
      }
    }
    return c;
  }
};

TEST_P(Flip, recompute_makes_every_later_token_exact_under_the_new_version) {
  for (const int64_t pages : {0, 7}) {
    GeneratorStats stats;
    const Results results = run_with_flip({.max_rows = 40, .max_running = 12, .kv_pages = pages}, 9, &stats);
    const Count c = count(results);
    EXPECT_GT(c.before, 20);
    EXPECT_GT(c.after, 20);
    EXPECT_GT(c.both, 2);
    EXPECT_GT(stats.tokens_recomputed, 0);
    EXPECT_EQ(stats.flips, 1);
    for (const auto& [id, r] : results)
      for (const Sequence& s : r.samples) EXPECT_EQ(s.exact, s.trainable);
    EXPECT_EQ(expect_equal_to_packed(device, versions, requests, results), c.before + c.after);
  }
}

TEST_P(Flip, keep_goes_on_at_once_and_flags_mixed_contexts) {
  GeneratorStats stats;
  const Results results = run_with_flip({.max_rows = 40, .max_running = 12, .on_flip = OnFlip::keep}, 9, &stats);
  const Count c = count(results);
  EXPECT_GT(c.both, 2);
  int64_t inexact = 0, fresh_exact = 0;
  for (const auto& [id, r] : results) {
    for (const Sequence& s : r.samples) {
      bool began_before = false;
      for (size_t t = 0; t < s.tokens.size(); ++t) {
        if (s.version[t] < 0) continue;
        began_before = began_before || s.version[t] == 10;
        EXPECT_EQ(s.exact[t], !(began_before && s.version[t] == 11));
        inexact += s.exact[t] == 0;
        fresh_exact += s.exact[t] == 1 && s.version[t] == 11;
      }
    }
  }
  EXPECT_GT(inexact, 10);
  EXPECT_GT(fresh_exact, 10);
  int64_t differing = 0;
  EXPECT_EQ(expect_equal_to_packed(device, versions, requests, results, &differing), c.before + c.after - inexact);
  EXPECT_GT(differing, inexact / 2) << "a mixed context must show, or the flag says nothing";
}

TEST_P(Flip, finish_keeps_the_old_version_for_samples_that_began_under_it) {
  for (const int64_t pages : {0, 7}) {
    const Results results = run_with_flip({.max_rows = 40, .max_running = 12, .kv_pages = pages, .on_flip = OnFlip::finish}, 9);
    const Count c = count(results);
    EXPECT_GT(c.before, 20);
    EXPECT_GT(c.after, 20);
    EXPECT_EQ(c.both, 0);
    for (const auto& [id, r] : results)
      for (const Sequence& s : r.samples) EXPECT_EQ(s.exact, s.trainable);
    EXPECT_EQ(expect_equal_to_packed(device, versions, requests, results), c.before + c.after);
  }
}

TEST_P(Flip, finish_keeps_the_old_version_through_preemption) {
  int64_t recomputed = 0;
  for (const int steps : {3, 6, 12, 18, 25, 40}) {
    GeneratorStats stats;
    const Results results = run_with_flip({.max_rows = 40, .kv_pages = 6, .on_flip = OnFlip::finish}, steps, &stats);
    recomputed += stats.tokens_recomputed;
    const Count c = count(results);
    EXPECT_EQ(c.both, 0) << "flip after " << steps << " steps";
    EXPECT_EQ(expect_equal_to_packed(device, versions, requests, results), c.before + c.after);
  }
  EXPECT_GT(recomputed, 0);
}

TEST_P(Flip, finish_lets_go_of_the_old_weights_when_their_last_sample_ends) {
  GeneratorEngine engine(device, {.on_flip = OnFlip::finish}, versions[10], 10);
  for (const GenRequest& r : requests) engine.submit(r);
  for (int i = 0; i < 5; ++i) engine.step();
  const std::weak_ptr<const WeightSet> old = versions[10];
  engine.set_weights(versions[11], 11);
  versions.clear();
  EXPECT_FALSE(old.expired());
  while (engine.pending() > 0) engine.step();
  EXPECT_TRUE(old.expired());
}

TEST_P(Flip, a_flip_before_the_first_step_is_as_if_born_with_the_new_weights) {
  for (const OnFlip policy : {OnFlip::recompute, OnFlip::keep, OnFlip::finish})
    expect_same_bits(generate(device, versions[11], {}, requests), run_with_flip({.on_flip = policy}, 0), "flip at once");
}

TEST_P(Flip, exactness_survives_many_flips_at_random_moments_with_few_pages) {
  for (int v = 12; v < 16; ++v) versions[v] = random_weights(device, config, GetParam(), static_cast<uint64_t>(v));
  for (uint64_t trial = 0; trial < 9; ++trial) {
    Rng rng(trial, "flips");
    GeneratorConfig c;
    c.on_flip = trial % 3 == 0 ? OnFlip::recompute : trial % 3 == 1 ? OnFlip::keep : OnFlip::finish;
    c.max_rows = 1 + static_cast<int64_t>(rng.below(50));
    c.max_running = 1 + static_cast<int64_t>(rng.below(16));
    c.kv_pages = rng.chance(0.3) ? 0 : 5 + static_cast<int64_t>(rng.below(10));
    c.page_shuffle_seed = trial;
    GeneratorEngine engine(device, c, versions[10], 10);
    for (const GenRequest& r : requests) engine.submit(r);
    Results results;
    for (int64_t v = 11; v < 16; ++v) {
      for (uint64_t steps = rng.below(25); steps > 0; --steps) take(results, engine.step());
      engine.set_weights(versions[v], v);
    }
    run_to_end(engine, results);
    EXPECT_EQ(results.size(), requests.size());
    for (const auto& [id, r] : results)
      for (const Sequence& s : r.samples)
        for (size_t t = 0; t < s.tokens.size(); ++t) {
          if (c.on_flip == OnFlip::finish && s.trainable[t] == 1) {
            EXPECT_EQ(s.version[t], s.version.back()) << "trial " << trial;
          }
        }
    EXPECT_GT(expect_equal_to_packed(device, versions, requests, results), 30) << "trial " << trial;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Flip, ::testing::Values(DType::f32, DType::bf16),
                         [](const auto& info) { return std::string(dtype_name(info.param)); });

}  // namespace
}  // namespace r1
