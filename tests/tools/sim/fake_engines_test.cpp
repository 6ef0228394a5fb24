// Engines that pretend keep what models/engines.h promises: a simulation shows nothing about the roles otherwise.
#include "models/fake/fake_engines.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "models/version_delta.h"
#include "tests/models/tiny.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

struct FakeEngines : testing::Test {
  Device& device = open_device("cpu");
  std::shared_ptr<const EngineFactory> engines = fake_engines(device);
  std::shared_ptr<WeightSet> start = test::random_weights(device, test::tiny_config(Architecture::qwen3), 1);
  TemporaryDirectory dir;

  std::unique_ptr<Learner> learner(Objective objective = Objective::grpo) {
    TrainerConfig config;
    config.objective = objective;
    return engines->learner("trainer", config, *start);
  }
  static GenRequest request(uint64_t id) {
    GenRequest r;
    r.id = id;
    r.rng_key = rng_key(3, "request", id);
    r.prompt = {1, 5, static_cast<int32_t>(id) % 19};
    r.samples = 3;
    r.max_new_tokens = 20;
    r.stop_ids = {2};
    return r;
  }
  // By id.
  static std::map<uint64_t, GenResult> finish(Sampler& sampler) {
    std::map<uint64_t, GenResult> out;
    while (sampler.pending() > 0)
      for (GenResult& r : sampler.step()) out[r.id] = std::move(r);
    return out;
  }
  std::unique_ptr<Sampler> sampler(std::shared_ptr<const WeightSet> weights, int64_t version) {
    return engines->sampler("policy", {}, std::move(weights), version);
  }
};

TEST_F(FakeEngines, what_is_learned_is_a_function_of_all_batches_and_of_nothing_else) {
  auto a = learner(), b = learner(), c = learner();
  const auto policy = sampler(a->weights(), 0);
  policy->submit(request(1));
  const auto sampled = finish(*policy);
  const TrainBatch batch{sampled.at(1).samples};
  TrainBatch other = batch;
  other.sequences[0].advantage = 0.5f;
  a->train(batch), b->train(batch), c->train(other);
  EXPECT_EQ(a->version(), 1);
  EXPECT_EQ(a->masters_hash(), b->masters_hash());
  EXPECT_NE(a->masters_hash(), c->masters_hash());
  c->train(batch), a->train(other);
  EXPECT_NE(a->masters_hash(), c->masters_hash()) << "the order counts";
  const Hash128 before = a->masters_hash();
  a->train({});
  EXPECT_EQ(a->masters_hash(), before);
  EXPECT_EQ(a->version(), 3);
}

TEST_F(FakeEngines, a_state_that_is_saved_and_loaded_goes_on_to_the_same_weights_and_a_damaged_one_changes_nothing) {
  auto a = learner(Objective::sft), b = learner(Objective::sft);
  TrainBatch batch;
  batch.sequences.emplace_back().tokens = {1, 2, 3};
  batch.sequences[0].trainable = {0, 1, 1};
  a->train(batch);
  a->save(dir.path() / "state");
  std::string bytes = read_file(dir.path() / "state");
  bytes[bytes.size() / 2] ^= 1;
  write_file_atomically(dir.path() / "damaged", bytes);
  const Hash128 before = b->masters_hash();
  EXPECT_THROW(b->load(dir.path() / "damaged"), r1::Error);
  EXPECT_EQ(b->masters_hash(), before);
  EXPECT_EQ(b->version(), 0);
  b->load(dir.path() / "state");
  a->train(batch), b->train(batch);
  EXPECT_EQ(a->masters_hash(), b->masters_hash());
  EXPECT_EQ(b->version(), 2);
}

TEST_F(FakeEngines, ranks_in_a_ring_learn_what_one_does_that_plays_them_all_and_need_each_others_state) {
  for (const int64_t n : {2, 3}) {
    TrainerConfig config;
    config.objective = Objective::sft;
    config.ranks = n;
    std::vector<std::unique_ptr<Learner>> alone;
    for (int64_t r = 1; r <= n; ++r) {
      config.ranks = r;
      alone.push_back(engines->learner("trainer", config, *start));
    }
    std::vector<std::unique_ptr<Collective>> places = thread_ranks(n);
    std::vector<std::unique_ptr<RankLearner>> ranks;
    for (auto& place : places) ranks.push_back(engines->rank("trainer", config, *start, std::move(place)));
    const auto together = [&](const std::function<void(RankLearner&, size_t)>& call) {
      std::vector<std::thread> threads;
      for (size_t r = 0; r < ranks.size(); ++r) threads.emplace_back([&, r] { call(*ranks[r], r); });
      for (std::thread& t : threads) t.join();
    };
    const auto batch = [](int32_t token) {
      TrainBatch b;
      b.sequences.emplace_back().tokens = {1, 2, token};
      return b;
    };
    for (int32_t v = 0; v < 3; ++v) {
      for (auto& one : alone) one->train(batch(v));
      together([&](RankLearner& rank, size_t) { rank.train(batch(v)); });
    }
    for (const auto& rank : ranks) EXPECT_EQ(rank->masters_hash(), alone.back()->masters_hash()) << n;
    for (size_t r = 0; r + 1 < alone.size(); ++r) EXPECT_NE(alone[r]->masters_hash(), alone.back()->masters_hash());
    // What each alone has is in the state, and comes back to it.
    together([&](RankLearner& rank, size_t r) { r == 0 ? rank.save(dir.path() / "state") : rank.give_state(); });
    together([&](RankLearner& rank, size_t) { rank.train(batch(9)); });
    const Hash128 next = ranks[0]->masters_hash();
    together([&](RankLearner& rank, size_t) { rank.train(batch(8)); });
    together([&](RankLearner& rank, size_t r) { r == 0 ? rank.begin_load(dir.path() / "state")() : rank.take_state(); });
    together([&](RankLearner& rank, size_t) { rank.train(batch(9)); });
    EXPECT_EQ(ranks[0]->masters_hash(), next);
    alone.back()->load(dir.path() / "state");
    alone.back()->train(batch(9));
    EXPECT_EQ(alone.back()->masters_hash(), next);
  }
}

TEST_F(FakeEngines, versions_go_through_real_deltas_that_are_sparse) {
  auto a = learner(Objective::sft);
  TrainBatch batch;
  batch.sequences.emplace_back().tokens = {1, 2, 3};
  const auto before = a->weights();
  a->train(batch);
  const auto after = a->weights();
  EXPECT_NE(before->hash(), after->hash()) << "what was handed out does not change";
  const VersionDelta delta = encode_delta(before.get(), 0, *after, 1);
  EXPECT_FALSE(delta.full());
  EXPECT_LT(delta.bytes(), static_cast<size_t>(before->flat().size()) / 4);
  EXPECT_EQ(apply_delta(before.get(), delta, before->config(), device, before->dtype())->hash(), after->hash());
}

TEST_F(FakeEngines, what_is_sampled_depends_on_no_company_and_has_the_log_probabilities_of_the_other_engines) {
  auto a = learner();
  auto alone = sampler(a->weights(), 0), together = sampler(a->weights(), 0);
  alone->submit(request(2));
  for (uint64_t id = 1; id <= 4; ++id) together->submit(request(id));
  const auto one = finish(*alone), all = finish(*together);
  TrainBatch batch;
  for (size_t i = 0; i < 3; ++i) {
    const Sequence& s = one.at(2).samples[i];
    EXPECT_EQ(s.tokens, all.at(2).samples[i].tokens);
    EXPECT_EQ(s.behaviour_logp, all.at(2).samples[i].behaviour_logp);
    const auto logp = engines->frozen("reference", a->weights())->logprobs({s}, 1)[0];
    for (size_t t = 0; t < s.tokens.size(); ++t)
      if (s.trainable[t]) {
        EXPECT_EQ(logp[t], s.behaviour_logp[t]);
      }
    batch.sequences.push_back(s);
  }
  EXPECT_NE(one.at(2).samples[0].tokens, one.at(2).samples[1].tokens);
  const TrainStats stats = a->train(batch);
  EXPECT_EQ(stats.logprob_gap.max, 0);
  EXPECT_GT(stats.logprob_gap.tokens, 5);
  // Under other weights the same batch shows that P2 is broken.
  auto moved = learner();
  moved->train(batch);
  for (Sequence& s : batch.sequences) s.version.assign(s.version.size(), 1);
  EXPECT_GT(moved->train(batch).logprob_gap.max, 0);
}

TEST_F(FakeEngines, a_flip_computes_contexts_again_and_other_weights_sample_other_tokens) {
  auto a = learner();
  auto flipped = sampler(a->weights(), 0), steady = sampler(a->weights(), 0);
  for (Sampler* s : {flipped.get(), steady.get()}) {
    GenRequest r = request(1);
    r.stop_ids.clear();  // still at it when the weights change
    s->submit(std::move(r));
    s->step();
  }
  TrainBatch batch;
  batch.sequences.emplace_back().tokens = {1, 2, 3};
  batch.sequences[0].trainable = {0, 1, 1};
  batch.sequences[0].exact = batch.sequences[0].trainable;
  batch.sequences[0].version = {-1, 7, 7};
  batch.sequences[0].behaviour_logp = {0, 0, 0};
  a->train(batch);
  flipped->set_weights(a->weights(), 1);
  EXPECT_EQ(flipped->version(), 1);
  const auto one = finish(*flipped), other = finish(*steady);
  bool differs = false;
  for (size_t i = 0; i < 3; ++i) {
    const Sequence& s = one.at(1).samples[i];
    differs = differs || s.tokens != other.at(1).samples[i].tokens;
    const auto logp = engines->frozen("audit", a->weights())->logprobs({s}, 1)[0];
    for (size_t t = 0; t < s.tokens.size(); ++t)
      if (s.version[t] == 1) {
        EXPECT_EQ(logp[t], s.behaviour_logp[t]) << "in a context of version 1";
      }
  }
  EXPECT_TRUE(differs);
}

}  // namespace
}  // namespace r1
