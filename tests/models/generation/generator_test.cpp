#include "models/generation/generator_engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "base/stop.h"
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

// Wider matrices than the tiny models': other tile shapes, odd tails, long contexts of many pages, long prompts in chunks.
TEST(OnPolicyWide, a_wide_model_with_long_prompts_gives_the_same_bits_alone_and_in_a_crowd) {
  Device& device = open_device("cpu");
  ModelConfig config;
  config.architecture = Architecture::qwen2;
  config.vocab_size = 603;
  config.hidden = 448;
  config.layers = 1;
  config.heads = 7;
  config.kv_heads = 1;
  config.head_dim = 64;
  config.ffn = 1216;
  config.max_positions = 600;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto weights = random_weights(device, config, dtype, 21);
    auto requests = random_requests(31, 5, static_cast<int32_t>(config.vocab_size));
    Rng rng(31, "long prompts");
    for (int i = 0; i < 150; ++i) requests[1].prompt.push_back(static_cast<int32_t>(rng.below(603)));
    const Results alone = generate(device, weights, {.max_rows = 1, .max_running = 1}, requests);
    EXPECT_GT(expect_equal_to_packed(device, {{0, weights}}, requests, alone), 60);
    for (const int64_t rows : {3, 17, 64, 512})
      expect_same_bits(alone, generate(device, weights, {.max_rows = rows, .page_shuffle_seed = 9}, requests),
                       std::to_string(rows) + " rows");
  }
}

class Generator : public ::testing::Test {
 protected:
  Device& device = open_device("cpu");
  ModelConfig config = random_model_config(Architecture::qwen2);
  std::shared_ptr<const WeightSet> weights = random_weights(device, config, DType::f32, 3);

  GenRequest request(uint64_t id, int samples, int64_t max_new) {
    GenRequest r;
    r.id = id;
    r.rng_key = rng_key(1, "draw", id);
    r.prompt = {5, 9, 2, 44, 7};
    r.samples = samples;
    r.max_new_tokens = max_new;
    return r;
  }
  // log p(token | prefix) for every token of the vocabulary.
  std::vector<float> distribution(const std::vector<int32_t>& prefix) {
    std::vector<Sequence> all;
    for (int32_t v = 0; v < config.vocab_size; ++v) {
      all.emplace_back().tokens = prefix;
      all.back().tokens.push_back(v);
    }
    std::vector<float> p;
    for (const auto& l : ScoringEngine(device, weights).logprobs(all, 1)) p.push_back(l.back());
    return p;
  }
};

TEST_F(Generator, logits_that_are_not_finite_end_the_step_and_name_the_draw) {
  for (const float temperature : {1.0f, 0.0f})
    for (const int top_k : {0, 5}) {
      auto bad = random_weights(device, config, DType::f32, 1);
      Context ctx(device);
      run(ctx, Fill{bad->param(bad->specs().size() - 1).slice(3, 4), NAN});
      GeneratorEngine engine(device, {}, bad, 0);
      GenRequest r = random_requests(1, 1, 67)[0];
      r.id = 57;
      r.temperature = temperature;
      r.top_k = top_k;
      engine.submit(r);
      try {
        engine.step();
        ADD_FAILURE() << "temperature " << temperature << " top_k " << top_k << ": a token was sampled";
      } catch (const Error& e) {
        const std::string place = "draw 57, sample 0, token " + std::to_string(r.prompt.size());
        EXPECT_NE(e.message().find(place), std::string::npos) << e.message();
      }
    }
}

TEST_F(Generator, fills_every_field_of_a_sequence) {
  const Results r = generate(device, weights, {}, {request(7, 3, 6)});
  ASSERT_EQ(r.at(7).samples.size(), 3u);
  for (const Sequence& s : r.at(7).samples) {
    ASSERT_EQ(s.tokens.size(), 11u);
    for (size_t t = 0; t < 11; ++t) {
      EXPECT_EQ(s.trainable[t], t >= 5);
      EXPECT_EQ(s.exact[t], t >= 5);
      EXPECT_EQ(s.version[t], t >= 5 ? 0 : -1);
      if (t >= 5)
        EXPECT_LT(s.behaviour_logp[t], 0);
      else
        EXPECT_EQ(s.behaviour_logp[t], 0);
    }
    EXPECT_TRUE(s.reference_logp.empty());
  }
  EXPECT_EQ(r.at(7).finished, (std::vector<uint8_t>{0, 0, 0}));
}

TEST_F(Generator, samples_of_a_group_differ_and_a_run_repeats) {
  const Results a = generate(device, weights, {}, {request(1, 8, 12)}), b = generate(device, weights, {}, {request(1, 8, 12)});
  expect_same_bits(a, b, "again");
  std::set<std::vector<int32_t>> distinct;
  for (const Sequence& s : a.at(1).samples) distinct.insert(s.tokens);
  EXPECT_GT(distinct.size(), 4u);
}

TEST_F(Generator, a_stop_id_ends_a_sample_and_is_part_of_it) {
  const Results free_run = generate(device, weights, {}, {request(1, 6, 20)});
  GenRequest stopping = request(1, 6, 20);
  stopping.stop_ids = {free_run.at(1).samples[0].tokens[9], free_run.at(1).samples[2].tokens[12]};
  const Results stopped = generate(device, weights, {}, {stopping});
  for (size_t s = 0; s < 6; ++s) {
    std::vector<int32_t> expected = free_run.at(1).samples[s].tokens;
    const auto& stops = stopping.stop_ids;
    const auto end = std::find_first_of(expected.begin() + 5, expected.end(), stops.begin(), stops.end());
    EXPECT_EQ(stopped.at(1).finished[s], end != expected.end());
    if (end != expected.end()) expected.erase(end + 1, expected.end());
    EXPECT_EQ(stopped.at(1).samples[s].tokens, expected);
  }
  EXPECT_EQ(stopped.at(1).finished[0], 1);
}

TEST_F(Generator, a_token_is_where_the_random_number_of_its_key_and_position_falls) {
  const Results r = generate(device, weights, {}, {request(1, 3, 8)});
  for (size_t sample = 0; sample < 3; ++sample) {
    const Sequence& s = r.at(1).samples[sample];
    const uint64_t key = rng_key(rng_key(1, "draw", 1), "sample", sample);
    for (size_t t = 5; t < s.tokens.size(); ++t) {
      const auto logp = distribution({s.tokens.begin(), s.tokens.begin() + static_cast<int64_t>(t)});
      const double u = unit_float(
          philox4x32({static_cast<uint32_t>(t), 0, 0, 0}, {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)})[0]);
      double below = 0;
      for (int32_t v = 0; v < s.tokens[t]; ++v) below += std::exp(static_cast<double>(logp[static_cast<size_t>(v)]));
      const double eps = 1e-5;  // f32 sums over 67 probabilities, with room
      EXPECT_GE(u, below - eps);
      EXPECT_LE(u, below + std::exp(static_cast<double>(logp[static_cast<size_t>(s.tokens[t])])) + eps);
    }
  }
}

TEST_F(Generator, greedy_takes_the_most_probable_token) {
  GenRequest r = request(1, 1, 8);
  r.temperature = 0;
  const Results results = generate(device, weights, {}, {r});
  const Sequence& s = results.at(1).samples[0];
  for (size_t t = 5; t < s.tokens.size(); ++t) {
    const auto p = distribution({s.tokens.begin(), s.tokens.begin() + static_cast<int64_t>(t)});
    EXPECT_EQ(s.tokens[t], std::max_element(p.begin(), p.end()) - p.begin());
    EXPECT_EQ(s.behaviour_logp[t], p[static_cast<size_t>(s.tokens[t])]);
  }
}

TEST_F(Generator, truncated_sampling_stays_in_its_support_and_mixes_in_a_batch) {
  GenRequest greedy = request(1, 1, 10), top1 = request(1, 1, 10), tiny_p = request(1, 1, 10), top3 = request(3, 6, 10);
  greedy.temperature = 0;
  top1.top_k = 1;
  tiny_p.top_p = 1e-6f;
  top3.top_k = 3;
  const Results expected = generate(device, weights, {}, {greedy});
  expect_same_bits(expected, generate(device, weights, {}, {top1}), "top_k = 1");
  expect_same_bits(expected, generate(device, weights, {}, {tiny_p}), "small top_p");

  const Results three = generate(device, weights, {}, {top3});
  bool beyond_first = false;
  for (const Sequence& s : three.at(3).samples) {
    for (size_t t = 5; t < s.tokens.size(); ++t) {
      auto p = distribution({s.tokens.begin(), s.tokens.begin() + static_cast<int64_t>(t)});
      const float mine = p[static_cast<size_t>(s.tokens[t])];
      EXPECT_EQ(s.behaviour_logp[t], mine) << "the log-probability is that of the whole vocabulary";
      std::sort(p.rbegin(), p.rend());
      EXPECT_GE(mine, p[2]);
      beyond_first = beyond_first || mine < p[0];
    }
  }
  EXPECT_TRUE(beyond_first);

  top1.id = 2, tiny_p.id = 4;
  GenRequest plain = request(5, 3, 10);
  const Results mixed = generate(device, weights, {.max_rows = 9}, {top1, plain, top3, tiny_p});
  EXPECT_EQ(mixed.at(2).samples[0].tokens, expected.at(1).samples[0].tokens);
  EXPECT_EQ(mixed.at(4).samples[0].tokens, expected.at(1).samples[0].tokens);
  expect_same_bits(three, {{3, mixed.at(3)}}, "top_k = 3 among others");
  expect_same_bits(generate(device, weights, {}, {plain}), {{5, mixed.at(5)}}, "plain among others");
}

TEST_F(Generator, a_prompt_is_computed_once_per_group_and_its_full_pages_are_shared) {
  GenRequest r = request(1, 8, 4);
  r.prompt.assign(5 * kKeyBlock + 3, 6);
  GeneratorStats stats;
  generate(device, weights, {}, {r}, &stats);
  EXPECT_EQ(stats.tokens_prefilled, 5 * kKeyBlock + 3);
  EXPECT_EQ(stats.tokens_recomputed, 0);
  EXPECT_EQ(stats.tokens_generated, 32);
  EXPECT_EQ(stats.peak_pages, 5 + 8);
}

TEST_F(Generator, samples_that_start_late_recompute_one_row_each) {
  GenRequest r = request(1, 6, 5);
  GeneratorStats stats;
  generate(device, weights, {.max_running = 2}, {r}, &stats);
  EXPECT_EQ(stats.tokens_prefilled, 5);
  EXPECT_EQ(stats.tokens_recomputed, 4);
}

TEST_F(Generator, preempted_samples_come_back_unchanged) {
  const auto requests = random_requests(8, 10, static_cast<int32_t>(config.vocab_size));
  GeneratorStats loose, tight;
  const Results a = generate(device, weights, {}, requests, &loose);
  const Results b = generate(device, weights, {.kv_pages = 6}, requests, &tight);
  expect_same_bits(a, b, "six pages");
  EXPECT_GT(loose.peak_pages, 6);
  EXPECT_LE(tight.peak_pages, 6);
  EXPECT_EQ(loose.tokens_recomputed, 0);
  EXPECT_GT(tight.tokens_recomputed, 0);
}

TEST_F(Generator, cancelling_frees_everything_and_names_what_was_pending) {
  GeneratorEngine engine(device, {.max_running = 4}, weights, 0);
  for (uint64_t id = 1; id <= 5; ++id) engine.submit(request(id, 3, 20));
  for (int i = 0; i < 6; ++i) engine.step();
  EXPECT_GT(engine.pages_in_use(), 0);
  EXPECT_EQ(engine.cancel_all(), (std::vector<uint64_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(engine.pending(), 0);
  EXPECT_EQ(engine.pages_in_use(), 0);
  EXPECT_TRUE(engine.step().empty());
  engine.submit(request(9, 3, 20));
  Results after;
  run_to_end(engine, after);
  expect_same_bits(generate(device, weights, {}, {request(9, 3, 20)}), after, "after cancelling");
}

TEST_F(Generator, every_step_is_a_unit_that_whoever_looks_after_the_work_is_told_of) {
  GeneratorEngine engine(device, {.max_running = 4}, weights, 0);
  for (uint64_t id = 1; id <= 5; ++id) engine.submit(request(id, 3, 20));
  int64_t units = 0;
  const std::function<void()> unit = [&] { ++units; };
  const StopScope scope({nullptr, &unit});
  Results results;
  run_to_end(engine, results);
  EXPECT_GT(units, 20);
  EXPECT_EQ(units, engine.stats().steps);
}

TEST_F(Generator, refuses_what_can_never_fit) {
  GeneratorEngine engine(device, {.kv_pages = 2}, weights, 0);
  EXPECT_THROW(engine.submit(request(1, 1, 60)), Error);
  GenRequest long_prompt = request(2, 1, 1);
  long_prompt.prompt.assign(static_cast<size_t>(config.max_positions), 1);
  EXPECT_THROW(engine.submit(long_prompt), Error);
  EXPECT_EQ(engine.pending(), 0);
}

TEST_F(Generator, a_sample_ends_where_the_positions_of_the_model_end) {
  const Results r = generate(device, weights, {}, {request(1, 2, 100'000)});
  for (const Sequence& s : r.at(1).samples) EXPECT_EQ(static_cast<int64_t>(s.tokens.size()), config.max_positions);
}

}  // namespace
}  // namespace r1
