// A trainer's engine of several ranks against the engine alone: what it learns, its statistics, its state on disk, its errors.
#include "models/training/ranked_learner.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "base/error.h"
#include "base/stop.h"
#include "base/wait_note.h"
#include "models/training/scoring_engine.h"
#include "tests/models/tiny.h"

namespace r1::test {
namespace {

struct RankedLearnerTest : ::testing::Test {
  Device& device = open_device("cpu");
  std::filesystem::path top;
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "r1_ranked_XXXXXX").string();
    top = mkdtemp(name.data());
  }
  void TearDown() override { std::filesystem::remove_all(top); }
};

// So that every mini-batch has many micro-batches.
TrainerConfig cut_small(int64_t ranks, const char* optimizer = "adamw", DType precision = DType::f32) {
  TrainerConfig c;
  c.micro_batch_tokens = 24;
  c.optimizer = optimizer;
  c.precision = precision;
  c.ranks = ranks;
  c.clip_norm = 0.5;
  c.weight_decay = 0.1;
  c.mini_batches = 2;
  return c;
}

std::unique_ptr<Learner> learner(Device& device, const TrainerConfig& c, const WeightSet& start) {
  return device_engines(device)->learner("trainer", c, start);
}

TrainBatch policy_batch(Device& device, const std::shared_ptr<WeightSet>& weights, uint64_t seed, int64_t n) {
  TrainBatch b = random_batch(seed, n, weights->config().vocab_size);
  const auto logp = ScoringEngine(device, weights).logprobs(b.sequences, 1);
  for (size_t i = 0; i < b.sequences.size(); ++i) {
    Sequence& s = b.sequences[i];
    s.behaviour_logp = logp[i];
    s.reference_logp = logp[i];
    for (float& x : s.reference_logp) x -= 0.05f * static_cast<float>(i % 3);
    s.version.assign(s.tokens.size(), 0);
    s.exact = s.trainable;
    s.advantage = i % 2 == 0 ? 1.f : -0.8f;
  }
  b.silent_sequences = 3;
  b.silent_tokens = 20;
  return b;
}

// Distance of two sets of weights, in units of how far the second has moved from `start`.
double distance(const WeightSet& a, const WeightSet& b, const WeightSet& start) {
  const std::vector<float> x = all_values(a), y = all_values(b), z = all_values(start);
  double apart = 0, moved = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    apart += std::pow(static_cast<double>(x[i]) - y[i], 2);
    if (i < z.size()) moved += std::pow(static_cast<double>(y[i]) - z[i], 2);
  }
  return std::sqrt(apart / moved);
}

void expect_alike(const TrainStats& a, const TrainStats& b) {
  const auto near = [](double x, double y, const char* what) { EXPECT_NEAR(x, y, 1e-4 * (1 + std::abs(y))) << what; };
  near(a.loss, b.loss, "loss");
  near(a.grad_norm, b.grad_norm, "grad_norm");
  near(a.kl, b.kl, "kl");
  near(a.entropy, b.entropy, "entropy");
  near(a.clip_fraction, b.clip_fraction, "clip_fraction");
  near(a.ratio_mean, b.ratio_mean, "ratio_mean");
  near(a.balance_loss, b.balance_loss, "balance_loss");
  near(a.expert_bias_spread, b.expert_bias_spread, "expert_bias_spread");
  near(a.pair_accuracy, b.pair_accuracy, "pair_accuracy");
  EXPECT_EQ(a.expert_load, b.expert_load);
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.trained_tokens, b.trained_tokens);
  EXPECT_EQ(a.optimizer_steps, b.optimizer_steps);
  EXPECT_EQ(a.logprob_gap.tokens, b.logprob_gap.tokens);
  EXPECT_EQ(a.logprob_gap.max, 0);
}

TEST_F(RankedLearnerTest, two_and_three_ranks_learn_what_one_does_up_to_rounding) {
  struct Case {
    const char* name;
    Objective objective;
    Architecture architecture;
    const char* optimizer;
    bool decoupled = false;
  };
  for (const Case& k :
       {Case{"sft", Objective::sft, Architecture::qwen2, "adamw"},
        Case{"experts", Objective::pretrain, Architecture::deepseek_v3, "adamw"},
        Case{"experts by muon", Objective::pretrain, Architecture::deepseek_v3, "muon"},
        Case{"muon", Objective::sft, Architecture::qwen3, "muon"}, Case{"grpo", Objective::grpo, Architecture::llama, "adamw"},
        Case{"decoupled grpo", Objective::grpo, Architecture::llama, "adamw", true},
        Case{"reward model", Objective::reward_model, Architecture::llama, "adamw"}}) {
    SCOPED_TRACE(k.name);
    const auto start = random_weights(device, tiny_config(k.architecture), 3);
    TrainerConfig c = cut_small(1, k.optimizer);
    c.objective = k.objective;
    c.decoupled = k.decoupled;
    if (k.objective == Objective::grpo) c.kl = 0.1, c.inner_epochs = 2, c.eps = 1e-3;
    c.eps = 1e-4;  // where a gradient is nearly nothing, Adam with a small eps magnifies its rounding
    std::vector<std::unique_ptr<Learner>> engines;
    for (int64_t ranks : {1, 2, 3}) {
      c.ranks = ranks;
      engines.push_back(learner(device, c, *start));
    }
    for (uint64_t v = 0; v < 3; ++v) {
      TrainBatch batch = k.objective == Objective::grpo ? policy_batch(device, start, 7 + v, 16)
                                                        : random_batch(7 + v, 16, start->config().vocab_size);
      if (v > 0)
        for (Sequence& s : batch.sequences) s.exact.clear();
      for (size_t e = 0; v == 1 && e < engines.size(); ++e) {  // in mid-run, as r1-shell does: every rank is told
        TrainerConfig changed = c;
        changed.ranks = static_cast<int64_t>(e) + 1;
        changed.lr = 3 * c.lr;
        engines[e]->change(changed);
      }
      const TrainStats alone = engines[0]->train(batch);
      for (size_t e = 1; e < engines.size(); ++e) expect_alike(engines[e]->train(batch), alone);
    }
    for (size_t e = 1; e < engines.size(); ++e) {
      EXPECT_NE(engines[e]->masters_hash(), engines[0]->masters_hash()) << "sums are rounded in another order";
      const double d = distance(engines[e]->masters(), engines[0]->masters(), *start);
      EXPECT_LT(d, 1e-5) << e + 1 << " ranks";
      RecordProperty(std::string(k.name) + " " + std::to_string(e + 1), std::to_string(d));
    }
  }
}

TEST_F(RankedLearnerTest, the_bits_are_those_of_the_number_of_ranks_whatever_the_threads) {
  for (const char* optimizer : {"adamw", "muon"})
    for (DType precision : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(std::string(optimizer) + " " + dtype_name(precision));
      const auto start = random_weights(device, tiny_config(Architecture::deepseek_v3), 3);
      std::vector<Hash128> hashes;
      for (int threads : {1, 0, 2}) {
        set_cpu_threads(threads);
        const auto e = learner(device, cut_small(3, optimizer, precision), *start);
        for (uint64_t v = 0; v < 3; ++v) {
          e->train(random_batch(v, 16, 19));
          if (v == 1) e->masters_hash();  // gathering in the middle changes nothing
        }
        hashes.push_back(e->masters_hash());
        WeightSet rounded(device, start->config(), precision);
        Context ctx(device);
        copy_weights(ctx, e->masters(), rounded);
        device.finish();
        EXPECT_EQ(e->weights()->hash(), rounded.hash()) << "the weights are the masters, rounded";
      }
      set_cpu_threads(0);
      EXPECT_EQ(hashes[0], hashes[1]);
      EXPECT_EQ(hashes[0], hashes[2]);
    }
}

TEST_F(RankedLearnerTest, saved_and_loaded_it_continues_bit_by_bit_and_the_file_is_that_of_one_rank) {
  for (const char* optimizer : {"adamw", "muon"})
    for (DType precision : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(std::string(optimizer) + " " + dtype_name(precision));
      const auto start = random_weights(device, tiny_config(Architecture::deepseek_v3), 3);
      const TrainerConfig c = cut_small(2, optimizer, precision);
      const auto straight = learner(device, c, *start), resumed = learner(device, c, *start);
      for (uint64_t v = 0; v < 2; ++v) straight->train(random_batch(v, 16, 19));
      straight->save(top / "state");
      resumed->train(random_batch(99, 16, 19));
      resumed->weights();
      resumed->load(top / "state");
      EXPECT_EQ(resumed->version(), 2);
      EXPECT_EQ(resumed->masters_hash(), straight->masters_hash());
      TrainerConfig alone = c;
      alone.ranks = 1;
      const auto one = learner(device, alone, *start);
      one->load(top / "state");
      EXPECT_EQ(one->masters_hash(), straight->masters_hash());
      for (uint64_t v = 2; v < 4; ++v) {
        straight->train(random_batch(v, 16, 19));
        resumed->train(random_batch(v, 16, 19));
        one->train(random_batch(v, 16, 19));
      }
      EXPECT_EQ(resumed->masters_hash(), straight->masters_hash());
      EXPECT_EQ(resumed->weights()->hash(), straight->weights()->hash());
      EXPECT_LT(distance(one->masters(), straight->masters(), *start), 0.05);
    }
}

TEST_F(RankedLearnerTest, what_was_handed_out_does_not_change_and_an_empty_batch_changes_nothing) {
  const auto start = random_weights(device, tiny_config(Architecture::llama), 3);
  const auto e = learner(device, cut_small(2, "adamw", DType::bf16), *start);
  e->train(random_batch(1, 16, 19));
  const auto held = e->weights();
  const Hash128 hash = held->hash();
  e->train({});
  EXPECT_EQ(e->version(), 2);
  EXPECT_EQ(e->weights()->hash(), hash);
  e->train(random_batch(2, 16, 19));
  EXPECT_EQ(held->hash(), hash);
  EXPECT_NE(e->weights()->hash(), hash);
}

TEST_F(RankedLearnerTest, a_rank_without_work_or_without_a_shard_takes_part_all_the_same) {
  const auto start = random_weights(device, tiny_config(Architecture::llama), 3);
  TrainerConfig c = cut_small(8, "muon");
  c.micro_batch_tokens = 1024;
  c.mini_batches = 1;
  const auto e = learner(device, c, *start);
  c.ranks = 1;
  const auto one = learner(device, c, *start);
  e->train(random_batch(1, 2, 19));
  one->train(random_batch(1, 2, 19));
  EXPECT_LT(distance(e->masters(), one->masters(), *start), 1e-4);
}

TEST_F(RankedLearnerTest, an_error_is_that_of_one_engine_and_ends_all_ranks) {
  const auto start = random_weights(device, tiny_config(Architecture::llama), 3);
  TrainerConfig c = cut_small(3);
  c.lr = 1e30;
  c.mini_batches = 1;
  const auto e = learner(device, c, *start);
  std::string what;
  try {
    for (uint64_t v = 0; v < 6; ++v) e->train(random_batch(v, 16, 19));
  } catch (const Error& error) {
    what = error.what();
  }
  EXPECT_NE(what.find("the gradient's norm is"), std::string::npos) << what;
  EXPECT_THROW(e->train(random_batch(1, 16, 19)), Error);
}

// Ranks that have nothing to do with the first one's work, and fail when it leaves.
class OthersThatNotice final : public OtherRanks {
 public:
  void tell(const RankOrder&) override {}
  void settle() override {}
  void abandon(const std::function<void()>& leave) override {
    const std::string before = failed;
    leave();
    failed = "rank 0 has left";
    if (!before.empty()) throw failure(before);
  }
  std::string failed;
};

TEST_F(RankedLearnerTest, what_a_rank_failed_with_first_is_told_and_not_what_others_saw_of_it) {
  const auto start = random_weights(device, tiny_config(Architecture::llama), 3);
  for (const char* before : {"", "the disk of rank 1 is full"}) {
    std::vector<std::unique_ptr<Collective>> ranks = thread_ranks(2);
    auto others = std::make_unique<OthersThatNotice>();
    others->failed = before;
    auto first = std::make_unique<TrainerEngine>(device, cut_small(2), *start, 0, std::move(ranks[0]));
    ranks[1] = nullptr;  // it has left
    RankedLearner e(std::move(first), std::move(others));
    try {
      e.train(random_batch(1, 16, 19));
      FAIL() << "a rank is missing";
    } catch (const Error& error) {
      const std::string what = error.what(), wanted = *before == 0 ? "rank 1 has left" : before;
      EXPECT_NE(what.find(wanted), std::string::npos) << what;
    }
  }
}

TEST_F(RankedLearnerTest, on_a_device_that_queues_and_traps_it_gives_the_cpus_bits) {
  Device& fake = open_device("fake");
  std::vector<Hash128> hashes;
  for (Device* d : {&device, &fake}) {
    const auto start = random_weights(*d, tiny_config(Architecture::deepseek_v3), 3);
    const auto e = learner(*d, cut_small(2, "muon", DType::bf16), *start);
    for (uint64_t v = 0; v < 2; ++v) e->train(random_batch(v, 16, 19));
    e->save(top / "state");
    e->load(top / "state");
    e->train(random_batch(2, 16, 19));
    hashes.push_back(e->masters_hash());
    hashes.push_back(e->weights()->hash());
  }
  EXPECT_EQ(hashes[0], hashes[2]);
  EXPECT_EQ(hashes[1], hashes[3]);
}

TEST_F(RankedLearnerTest, a_state_that_cannot_be_written_or_read_leaves_the_ranks_well) {
  const auto start = random_weights(device, tiny_config(Architecture::llama), 3);
  const auto e = learner(device, cut_small(2), *start), other = learner(device, cut_small(2), *start);
  e->train(random_batch(1, 16, 19));
  other->train(random_batch(1, 16, 19));
  EXPECT_THROW((void)e->begin_save(top / "no/such/directory/state"), Error);
  EXPECT_THROW(e->load(top / "nothing"), Error);
  e->train(random_batch(2, 16, 19));
  other->train(random_batch(2, 16, 19));
  EXPECT_EQ(e->masters_hash(), other->masters_hash());
}

TEST_F(RankedLearnerTest, a_stop_ends_training_as_it_does_with_one_rank) {
  const auto start = random_weights(device, tiny_config(Architecture::llama), 3);
  const auto e = learner(device, cut_small(3), *start);
  const std::atomic<bool> flag = true;
  const StopScope scope(&flag);
  EXPECT_THROW(e->train(random_batch(1, 16, 19)), Stopped);
}

TEST_F(RankedLearnerTest, every_micro_batch_is_a_unit_that_whoever_looks_after_the_work_is_told_of) {
  const auto start = random_weights(device, tiny_config(Architecture::llama), 3);
  for (const int64_t ranks : {1, 3}) {
    const auto e = learner(device, cut_small(ranks), *start);
    std::atomic<int64_t> units = 0;
    const std::function<void()> unit = [&] { ++units; };
    const StopScope scope({nullptr, &unit});
    const int64_t most = e->train(random_batch(1, 16, 19)).micro_batches;
    EXPECT_GT(most, 3);
    EXPECT_GT(units, most) << ranks << " ranks, two mini-batches";
    EXPECT_LE(units, 2 * most) << ranks;
  }
}

// Has done its part, and does not say so until it is let go.
class LateRank final : public ServedRank {
 public:
  LateRank(Device& device, const TrainerConfig& c, const WeightSet& start, std::unique_ptr<Collective> together,
           const std::atomic<bool>& go)
      : engine_(device, c, start, 0, std::move(together)), go_(go) {}
  void obey(const RankOrder& order) override {
    r1::obey(engine_, order);
    for (int i = 0; i < 2000 && !go_; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_TRUE(go_);
  }
  void leave() override { engine_.leave(); }

 private:
  TrainerEngine engine_;
  const std::atomic<bool>& go_;
};

TEST_F(RankedLearnerTest, a_rank_that_is_late_with_what_it_was_told_is_named_while_it_is_waited_for) {
  const auto start = random_weights(device, tiny_config(Architecture::llama), 3);
  std::vector<std::unique_ptr<Collective>> places = thread_ranks(3);
  std::atomic<bool> go{false}, at_once{true};
  std::vector<std::unique_ptr<ServedRank>> others;
  others.push_back(std::make_unique<LateRank>(device, cut_small(3), *start, std::move(places[1]), at_once));
  others.push_back(std::make_unique<LateRank>(device, cut_small(3), *start, std::move(places[2]), go));
  const auto e =
      ranked_learner(std::make_unique<TrainerEngine>(device, cut_small(3), *start, 0, std::move(places[0])), std::move(others));
  std::string said;
  const WaitSink sink = [&](const std::string& who, const std::string& reason) {
    said += who + " " + reason + "|";
    go = true;
  };
  const WaitScope looked_at(&sink);
  e->train(random_batch(1, 16, 19));
  EXPECT_EQ(said, "rank 0 for what rank 2 was told|rank 0 |");
}

TEST_F(RankedLearnerTest, shards_cover_what_is_trained_and_cut_no_matrix_of_muon) {
  for (Architecture a : {Architecture::qwen2, Architecture::deepseek_v3})
    for (const char* optimizer : {"adamw", "muon"})
      for (int64_t ranks : {1, 2, 3, 7, 64}) {
        const WeightSet w(device, tiny_config(a), DType::f32);
        TrainerConfig c;
        c.optimizer = optimizer;
        const std::vector<ElementRange> shards = optimizer_shards(w, c, ranks);
        ASSERT_EQ(static_cast<int64_t>(shards.size()), ranks);
        int64_t at = 0;
        for (const ElementRange& s : shards) {
          EXPECT_EQ(s.begin, at);
          EXPECT_LE(s.begin, s.end);
          at = s.end;
        }
        EXPECT_EQ(at, w.segments()[0].values.size());
      }
}

}  // namespace
}  // namespace r1::test
