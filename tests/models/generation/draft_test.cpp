// Speculative decoding by the multi-token prediction module: the same bits in fewer steps.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/models/generation/draft_models.h"
#include "tests/models/generation/generation_helpers.h"

namespace r1 {
namespace {

using testing::draft_config;
using testing::draft_weights;
using testing::expect_equal_to_packed;
using testing::generate;
using testing::random_requests;
using testing::Results;
using testing::run_to_end;
using testing::take;

constexpr int32_t kVocabulary = 67;

// Greedy, plain, truncated and mixed; lengths at which a draft fits, barely fits and does not fit.
std::vector<GenRequest> requests_of_every_kind(uint64_t seed, int count) {
  std::vector<GenRequest> requests = random_requests(seed, count, kVocabulary);
  for (size_t i = 0; i < requests.size(); ++i) {
    if (i % 5 == 3) requests[i].top_k = 4;
    if (i % 5 == 4) requests[i].top_p = 0.8f;
    if (i % 4 == 3) requests[i].max_new_tokens = 1 + static_cast<int64_t>(i / 4 % 3);
    if (i % 7 == 0) requests[i].samples = 1;
  }
  return requests;
}

void expect_same(const Results& a, const Results& b, const std::string& what) {
  testing::expect_same_bits(a, b, what);
  for (const auto& [id, x] : a)
    for (size_t s = 0; s < x.samples.size(); ++s) {
      const Sequence &p = x.samples[s], &q = b.at(id).samples[s];
      EXPECT_EQ(p.version, q.version) << what;
      EXPECT_EQ(p.exact, q.exact) << what;
      EXPECT_EQ(p.trainable, q.trainable) << what;
    }
}

struct Setting {
  const char* device;
  DType dtype;
};
class Draft : public ::testing::TestWithParam<Setting> {
 protected:
  Device& device = open_device(GetParam().device);
};
INSTANTIATE_TEST_SUITE_P(All, Draft,
                         ::testing::Values(Setting{"cpu", DType::f32}, Setting{"cpu", DType::bf16}, Setting{"fake", DType::f32},
                                           Setting{"fake", DType::bf16}),
                         [](const auto& info) { return std::string(info.param.device) + "_" + dtype_name(info.param.dtype); });

TEST_P(Draft, changes_no_bit_whatever_the_batch_the_pages_and_how_good_the_guesses_are) {
  int64_t recomputed = 0;
  for (const double noise : {0.0, 0.1, 1.0}) {
    const auto weights = draft_weights(device, GetParam().dtype, 5, noise);
    const auto requests = requests_of_every_kind(6, 16);
    GeneratorStats plain_stats;
    const Results plain = generate(device, weights, {}, requests, &plain_stats);
    EXPECT_EQ(plain_stats.tokens_drafted, 0);
    int64_t drafted = 0, accepted = 0;
    for (uint64_t trial = 0; trial < 7; ++trial) {
      Rng rng(trial, "trial");
      GeneratorConfig c{.draft = true};
      c.max_rows = trial == 0 ? 256 : 1 + static_cast<int64_t>(rng.below(60));
      c.max_running = trial == 0 ? 256 : 1 + static_cast<int64_t>(rng.below(20));
      // The longest request takes 5 pages; a handful more means constant preemption.
      c.kv_pages = trial % 2 == 0 ? 0 : 5 + static_cast<int64_t>(rng.below(12));
      c.page_shuffle_seed = trial;
      c.shards = trial % 3 == 0 ? 3 : 1;
      if (trial > 0) c.small_parameters = 0;  // the shards meet in every layer
      auto shuffled = requests;
      if (trial > 0) rng.shuffle(shuffled);
      GeneratorStats stats;
      const Results results = generate(device, weights, c, shuffled, &stats);
      expect_same(plain, results, "noise " + std::to_string(noise) + " trial " + std::to_string(trial));
      EXPECT_EQ(stats.tokens_generated, plain_stats.tokens_generated);
      if (c.kv_pages > 0) {
        EXPECT_LE(stats.peak_pages, c.kv_pages);
      }
      if (trial == 0) {
        EXPECT_EQ(stats.tokens_prefilled, plain_stats.tokens_prefilled);
        EXPECT_EQ(stats.tokens_recomputed, plain_stats.tokens_recomputed);
      }
      recomputed += stats.tokens_recomputed;
      drafted += stats.tokens_drafted;
      accepted += stats.tokens_accepted;
    }
    const double share = static_cast<double>(accepted) / static_cast<double>(drafted);
    SCOPED_TRACE("noise " + std::to_string(noise));
    EXPECT_GT(drafted, 500);
    if (noise == 0) {
      EXPECT_GT(share, 0.9);
    } else if (noise < 1) {
      EXPECT_GT(share, 0.1);
      EXPECT_LT(share, 0.9);
    } else {
      EXPECT_LT(share, 0.5);
    }
  }
  EXPECT_GT(recomputed, 0) << "no trial preempted anything";
}

// Which drafts were made, from nothing but the finished sequence: the module on the packed rows, and a count of steps by hand.
struct Expected {
  int64_t steps = 0, drafted = 0, accepted = 0;
};
Expected expected_of(Device& device, const WeightSet& weights, const GenRequest& r, const Sequence& q) {
  const Model model(device, weights.config());
  Context ctx(device);
  const auto upload_i32 = [&](const std::vector<int32_t>& host) {
    const View v = ctx.arena.alloc(DType::i32, {static_cast<int64_t>(host.size())});
    upload(v, host);
    return v;
  };
  const auto n = static_cast<int32_t>(q.tokens.size()), rows = n - 1;
  std::vector<int32_t> positions, drawn_at;
  for (int32_t i = 0; i < rows; ++i) positions.push_back(i), drawn_at.push_back(i + 2);
  const AttentionContext attention = PackedAttention{upload_i32({0, rows})};
  Pass pass{ctx, weights, attention};
  const View at = upload_i32(positions);
  const Value h = model.final_rows(pass, model.trunk(pass, upload_i32({q.tokens.begin(), q.tokens.end() - 1}), at), View{});
  const Value guesses = model.mtp_rows(pass, h, upload_i32({q.tokens.begin() + 1, q.tokens.end()}), at);
  const View keys = ctx.arena.alloc(DType::i64, {rows}), temperature = ctx.arena.alloc(DType::f32, {rows}),
             token = ctx.arena.alloc(DType::i32, {rows}), logp = ctx.arena.alloc(DType::f32, {rows});
  upload(keys, std::vector<int64_t>(positions.size(), static_cast<int64_t>(rng_key(r.rng_key, "sample", 0))));
  upload(temperature, std::vector<float>(positions.size(), r.temperature));
  run(ctx,
      Sample{model.logits(pass, guesses.view), keys, upload_i32(drawn_at), temperature, token, logp, View{}, r.top_k, r.top_p});
  const std::vector<int32_t> draft = download_as<int32_t>(token);  // [i]: for place i + 2

  const auto longest = static_cast<int32_t>(r.prompt.size() + static_cast<size_t>(r.max_new_tokens));
  const auto stops = [&](int32_t t) { return std::find(r.stop_ids.begin(), r.stop_ids.end(), t) != r.stop_ids.end(); };
  Expected e;
  e.steps = 1;  // the prompt gives the first token
  for (int32_t length = static_cast<int32_t>(r.prompt.size()) + 1; length < n; ++e.steps) {
    const int32_t d = draft[static_cast<size_t>(length) - 2];
    const bool tried = !stops(d) && length + 2 <= longest, right = tried && d == q.tokens[static_cast<size_t>(length)];
    e.drafted += tried;
    e.accepted += right;
    length += right ? 2 : 1;
  }
  return e;
}

TEST_P(Draft, the_guesses_are_those_of_the_module_on_the_finished_sequence) {
  Expected sum;
  for (const double noise : {0.0, 0.1, 0.3}) {
    const auto weights = draft_weights(device, GetParam().dtype, 7, noise);
    for (GenRequest r : requests_of_every_kind(8, 20)) {
      r.samples = 1;
      GeneratorEngine engine(device, {.draft = true}, weights, 0);
      engine.submit(r);
      Results results;
      run_to_end(engine, results);
      const Expected e = expected_of(device, *weights, r, results.at(r.id).samples[0]);
      EXPECT_EQ(engine.stats().tokens_drafted, e.drafted) << "noise " << noise << " request " << r.id;
      EXPECT_EQ(engine.stats().tokens_accepted, e.accepted) << "noise " << noise << " request " << r.id;
      EXPECT_EQ(engine.stats().steps, e.steps) << "noise " << noise << " request " << r.id;
      sum.drafted += e.drafted, sum.accepted += e.accepted;
    }
  }
  EXPECT_GT(sum.accepted, 100);
  EXPECT_GT(sum.drafted - sum.accepted, 100);
}

TEST_P(Draft, of_good_guesses_saves_steps) {
  const auto weights = draft_weights(device, GetParam().dtype, 9, 0);
  std::vector<GenRequest> requests = random_requests(10, 4, kVocabulary);
  for (GenRequest& r : requests) r.samples = 5, r.max_new_tokens = 20, r.stop_ids.clear();
  GeneratorStats plain, drafting;
  expect_same(generate(device, weights, {}, requests, &plain), generate(device, weights, {.draft = true}, requests, &drafting),
              "good guesses");
  EXPECT_GT(static_cast<double>(drafting.tokens_accepted), 0.97 * static_cast<double>(drafting.tokens_drafted));
  EXPECT_LT(static_cast<double>(drafting.steps), 0.6 * static_cast<double>(plain.steps));
}

// Sample `s` of a request again, without drafts: the flips come where its versions say.
Sequence replayed(Device& device, const std::map<int64_t, std::shared_ptr<const WeightSet>>& versions, GenRequest r, size_t s,
                  const Sequence& q, OnFlip policy) {
  r.samples = static_cast<int>(s) + 1;
  const size_t prompt = r.prompt.size();
  if (policy == OnFlip::keep) {
    GeneratorEngine engine(device, {.on_flip = policy}, versions.at(q.version[prompt]), q.version[prompt]);
    engine.submit(r);
    Results results;
    for (size_t t = prompt; t < q.tokens.size(); ++t) {
      if (q.version[t] != engine.version()) engine.set_weights(versions.at(q.version[t]), q.version[t]);
      take(results, engine.step());
    }
    run_to_end(engine, results);  // other samples may be longer
    return results.at(r.id).samples[s];
  }
  // Every later token is as if its whole context had always been computed under its version.
  Sequence whole;
  for (size_t begin = prompt, end; begin < q.tokens.size(); begin = end) {
    end = begin;
    while (end < q.tokens.size() && q.version[end] == q.version[begin]) ++end;
    GenRequest part = r;
    part.prompt.assign(q.tokens.begin(), q.tokens.begin() + static_cast<int64_t>(begin));
    part.max_new_tokens = static_cast<int64_t>(end - begin);
    Sequence p = generate(device, versions.at(q.version[begin]), {}, {part}).at(r.id).samples[s];
    p.version = q.version, p.exact = q.exact;
    p.version.resize(p.tokens.size()), p.exact.resize(p.tokens.size());
    if (begin > prompt) std::copy(whole.behaviour_logp.begin(), whole.behaviour_logp.end(), p.behaviour_logp.begin());
    whole = std::move(p);
  }
  return whole;
}

TEST_P(Draft, samples_across_flips_are_those_without_drafts) {
  std::map<int64_t, std::shared_ptr<const WeightSet>> versions;
  for (int64_t v = 10; v < 14; ++v) versions[v] = draft_weights(device, GetParam().dtype, static_cast<uint64_t>(v), 0.1);
  const auto requests = requests_of_every_kind(12, 10);
  for (const OnFlip policy : {OnFlip::recompute, OnFlip::keep, OnFlip::finish}) {
    int64_t drafted = 0, accepted = 0, mixed = 0, inexact = 0;
    for (uint64_t trial = 0; trial < 4; ++trial) {
      Rng rng(trial, "flips");
      GeneratorEngine engine(
          device, {.max_rows = 20 + static_cast<int64_t>(rng.below(60)), .max_running = 16, .on_flip = policy, .draft = true},
          versions[10], 10);
      for (const GenRequest& r : requests) engine.submit(r);
      Results results;
      for (int64_t v = 11; v < 14; ++v) {
        for (uint64_t steps = 2 + rng.below(9); steps > 0; --steps) take(results, engine.step());
        engine.set_weights(versions[v], v);
      }
      run_to_end(engine, results);
      drafted += engine.stats().tokens_drafted, accepted += engine.stats().tokens_accepted;
      EXPECT_GT(expect_equal_to_packed(device, versions, requests, results), 50);
      for (const GenRequest& r : requests)
        for (size_t s = 0; s < results.at(r.id).samples.size(); ++s) {
          const Sequence& q = results.at(r.id).samples[s];
          const Sequence p = replayed(device, versions, r, s, q, policy);
          ASSERT_EQ(p.tokens, q.tokens) << "request " << r.id << " sample " << s << " trial " << trial;
          EXPECT_EQ(p.version, q.version);
          EXPECT_EQ(p.exact, q.exact);
          for (size_t t = 0; t < q.tokens.size(); ++t)
            ASSERT_EQ(std::bit_cast<uint32_t>(p.behaviour_logp[t]), std::bit_cast<uint32_t>(q.behaviour_logp[t]))
                << "request " << r.id << " sample " << s << " token " << t;
          mixed += q.version[r.prompt.size()] != q.version.back();
          for (size_t t = 0; t < q.tokens.size(); ++t) inexact += q.exact[t] != q.trainable[t];
        }
    }
    EXPECT_GT(accepted, 20);
    EXPECT_GT(drafted - accepted, 20);
    if (policy != OnFlip::finish) {
      EXPECT_GT(mixed, 2);
    } else {
      EXPECT_EQ(mixed, 0);
    }
    EXPECT_EQ(inexact > 0, policy == OnFlip::keep);
  }
}

TEST_P(Draft, flips_with_few_pages_leave_exact_tokens_exact) {
  std::map<int64_t, std::shared_ptr<const WeightSet>> versions;
  for (int64_t v = 10; v < 14; ++v) versions[v] = draft_weights(device, GetParam().dtype, static_cast<uint64_t>(v), 0.1);
  const auto requests = requests_of_every_kind(13, 10);
  int64_t recomputed = 0;
  for (uint64_t trial = 0; trial < 9; ++trial) {
    Rng rng(trial, "flips");
    GeneratorConfig c{.draft = true};
    c.on_flip = trial % 3 == 0 ? OnFlip::recompute : trial % 3 == 1 ? OnFlip::keep : OnFlip::finish;
    c.max_rows = 1 + static_cast<int64_t>(rng.below(50));
    c.max_running = 1 + static_cast<int64_t>(rng.below(16));
    c.kv_pages = 5 + static_cast<int64_t>(rng.below(10));
    c.page_shuffle_seed = trial;
    GeneratorEngine engine(device, c, versions[10], 10);
    for (const GenRequest& r : requests) engine.submit(r);
    Results results;
    for (int64_t v = 11; v < 14; ++v) {
      for (uint64_t steps = rng.below(20); steps > 0; --steps) take(results, engine.step());
      engine.set_weights(versions[v], v);
    }
    run_to_end(engine, results);
    EXPECT_EQ(results.size(), requests.size());
    EXPECT_GT(expect_equal_to_packed(device, versions, requests, results), 30) << "trial " << trial;
    recomputed += engine.stats().tokens_recomputed;
  }
  EXPECT_GT(recomputed, 0);
}

// A module that was trained: counting texts, in which the step is what attention has to find out.
TEST(DraftTrained, saves_steps) {
  Device& device = open_device("cpu");
  TrainerConfig c;
  c.objective = Objective::pretrain;
  c.mtp = true;
  c.lr = 5e-3;
  WeightSet start(device, draft_config(), DType::f32);
  initialize(start, 1);
  TrainerEngine trainer(device, c, start);
  Rng rng(1, "texts");
  const auto text = [&](int length) {
    const auto at = static_cast<int32_t>(rng.below(kVocabulary)), step = 1 + static_cast<int32_t>(rng.below(2));
    std::vector<int32_t> tokens;
    for (int i = 0; i < length; ++i) tokens.push_back((at + i * step) % kVocabulary);
    return tokens;
  };
  for (int b = 0; b < 60; ++b) {
    TrainBatch batch;
    for (int i = 0; i < 16; ++i) {
      Sequence& s = batch.sequences.emplace_back();
      s.tokens = text(24);
      s.trainable.assign(s.tokens.size(), 1);
    }
    trainer.train(batch);
  }
  std::vector<GenRequest> requests;
  for (uint64_t i = 0; i < 12; ++i) {
    GenRequest& r = requests.emplace_back();
    r.id = i;
    r.rng_key = rng_key(2, "draw", i);
    r.prompt = text(4);
    r.samples = 4;
    r.max_new_tokens = 24;
    r.temperature = i % 2 == 0 ? 1.0f : 0.0f;
  }
  GeneratorStats plain, drafting;
  expect_same(generate(device, trainer.weights(), {}, requests, &plain),
              generate(device, trainer.weights(), {.draft = true}, requests, &drafting), "trained");
  EXPECT_GT(static_cast<double>(drafting.tokens_accepted), 0.5 * static_cast<double>(drafting.tokens_drafted));
  EXPECT_LT(static_cast<double>(drafting.steps), 0.75 * static_cast<double>(plain.steps));
}

}  // namespace
}  // namespace r1
