#include "models/training/scoring_engine.h"
#include "models/training/trainer_engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "tests/models/tiny.h"
#include "tools/sim/power_cut.h"

namespace r1::test {
namespace {

ModelConfig small_config() {
  ModelConfig c = tiny_config(Architecture::llama);
  c.hidden = 32;
  c.head_dim = 8;
  c.ffn = 64;
  return c;
}

std::shared_ptr<WeightSet> start_weights(Device& device, const ModelConfig& config, uint64_t seed = 1) {
  auto w = std::make_shared<WeightSet>(device, config, DType::f32);
  initialize(*w, seed);
  return w;
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "r1_trainer_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  std::filesystem::path operator/(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

TEST(Trainer, LearnsTwentySequencesByHeart) {
  Device& device = open_device("cpu");
  for (const char* optimizer : {"adamw", "muon"}) {
    for (DType precision : {DType::f32, DType::bf16}) {
      SCOPED_TRACE(std::string(optimizer) + " " + dtype_name(precision));
      TrainerConfig c;
      c.optimizer = optimizer;
      c.precision = precision;
      c.lr = 1e-2;
      c.warmup_steps = 5;
      c.total_steps = 120;
      c.schedule = Schedule::cosine;
      const ModelConfig model = small_config();
      TrainerEngine e(device, c, *start_weights(device, model));
      TrainBatch batch = random_batch(2, 20, model.vocab_size);
      // A first token of its own, so that no two sequences ask for different continuations of the same prefix.
      for (size_t i = 0; i < batch.sequences.size(); ++i)
        batch.sequences[i].tokens[0] = static_cast<int32_t>(i % 19),
        batch.sequences[i].tokens[1] = static_cast<int32_t>(i / 19);
      const double before = e.train(batch).loss;
      EXPECT_NEAR(before, std::log(19.0), 0.3);
      for (int i = 1; i < 120; ++i) e.train(batch);
      EXPECT_LT(e.evaluate(batch).loss, 0.1);
      EXPECT_EQ(e.version(), 120);
    }
  }
}

TEST(Trainer, CpuAndReferenceFollowTheSameLossCurve) {
  const ModelConfig model = tiny_config(Architecture::qwen3);
  std::vector<std::vector<double>> curves;
  for (const char* name : {"reference", "cpu"}) {
    Device& device = open_device(name);
    TrainerConfig c;
    c.optimizer = "muon";
    c.weight_decay = 0.1;
    TrainerEngine e(device, c, *random_weights(device, model, 1));
    curves.emplace_back();
    for (uint64_t i = 0; i < 8; ++i) curves.back().push_back(e.train(random_batch(i, 6, model.vocab_size)).loss);
  }
  // Rounding differences of about 1e-7 grow a little with every step.
  for (size_t i = 0; i < curves[0].size(); ++i) EXPECT_NEAR(curves[0][i], curves[1][i], 1e-4) << i;
}

TEST(Trainer, GivesTheSameBitsForAnyNumberOfThreads) {
  Device& device = open_device("cpu");
  const ModelConfig model = small_config();
  for (DType precision : {DType::f32, DType::bf16}) {
    std::vector<Hash128> hashes;
    for (int threads : {1, 2, 3}) {
      set_cpu_threads(threads);
      TrainerConfig c;
      c.optimizer = "muon";
      c.precision = precision;
      c.micro_batch_tokens = 64;
      TrainerEngine e(device, c, *start_weights(device, model));
      for (uint64_t i = 0; i < 3; ++i) e.train(random_batch(i, 60, model.vocab_size));
      hashes.push_back(e.masters_hash());
    }
    set_cpu_threads(0);
    EXPECT_EQ(hashes[0], hashes[1]);
    EXPECT_EQ(hashes[0], hashes[2]);
  }
}

TEST(Trainer, SaveLoadContinueIsBitEqual) {
  TemporaryDirectory dir;
  Device& device = open_device("cpu");
  const ModelConfig model = small_config();
  for (const char* optimizer : {"adamw", "muon"}) {
    TrainerConfig c;
    c.optimizer = optimizer;
    c.precision = DType::bf16;
    c.schedule = Schedule::linear;
    c.warmup_steps = 2;
    c.total_steps = 10;
    TrainerEngine a(device, c, *start_weights(device, model), 7);
    for (uint64_t i = 0; i < 3; ++i) a.train(random_batch(i, 8, model.vocab_size));
    a.save(dir / "state");
    TrainerEngine b(device, c, *start_weights(device, model, 99));
    b.load(dir / "state");
    EXPECT_EQ(b.version(), 10);
    EXPECT_EQ(b.masters_hash(), a.masters_hash());
    EXPECT_EQ(b.weights()->hash(), a.weights()->hash());
    for (uint64_t i = 3; i < 6; ++i) {
      const TrainStats x = a.train(random_batch(i, 8, model.vocab_size)), y = b.train(random_batch(i, 8, model.vocab_size));
      EXPECT_EQ(x.loss, y.loss);
      EXPECT_EQ(x.lr, y.lr);
    }
    EXPECT_EQ(b.masters_hash(), a.masters_hash());
    EXPECT_EQ(b.weights()->hash(), a.weights()->hash());
  }
}

TEST(Trainer, goes_on_while_its_state_is_put_into_place_and_leaves_nothing_where_it_is_not) {
  TemporaryDirectory dir;
  Device& device = open_device("cpu");
  const ModelConfig model = small_config();
  TrainerEngine a(device, TrainerConfig{}, *start_weights(device, model));
  a.train(random_batch(1, 8, model.vocab_size));
  const Hash128 saved = a.masters_hash();
  std::function<void()> finish = a.begin_save(dir / "state");
  EXPECT_FALSE(std::filesystem::exists(dir / "state"));
  a.train(random_batch(2, 8, model.vocab_size));
  std::thread(std::exchange(finish, nullptr)).join();
  TrainerEngine b(device, TrainerConfig{}, *start_weights(device, model, 99));
  b.load(dir / "state");
  EXPECT_EQ(b.masters_hash(), saved);
  EXPECT_NE(a.masters_hash(), saved);
  finish = a.begin_save(dir / "dropped");
  finish = nullptr;
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir / "."), {}), 1) << "the state, and nothing half written";
}

TEST(Trainer, RefusesAStateInWhichAnyOneBitIsAnother) {
  TemporaryDirectory dir;
  Device& device = open_device("cpu");
  TrainerEngine a(device, TrainerConfig{}, *start_weights(device, tiny_config(Architecture::llama)));
  a.save(dir / "state");
  const std::string bytes = read_file(dir / "state");
  const size_t data = bytes.size() - 32 - 3 * 4 * static_cast<size_t>(tiny_config(Architecture::llama).parameter_count());
  for (const size_t at : {data, data + (bytes.size() - data) / 2, bytes.size() - 33, bytes.size() - 1}) {
    std::string damaged = bytes;
    damaged[at] ^= 1;
    std::ofstream(dir / "damaged") << damaged;
    EXPECT_THROW(a.load(dir / "damaged"), Error) << at << " of " << bytes.size();
  }
  a.load(dir / "state");
}

TEST(Trainer, ASavedStateOutlivesAPowerCut) {
  TemporaryDirectory dir, copies;
  Device& device = open_device("cpu");
  TrainerConfig c;
  TrainerEngine a(device, c, *start_weights(device, small_config()));
  PowerCut power(dir / ".");
  for (const char* copy : {"first", "second"}) {  // the second in the place of the first
    a.train(random_batch(1, 8, small_config().vocab_size));
    a.save(dir / "state");
    power.restore(copies / copy);
    TrainerEngine b(device, c, *start_weights(device, small_config(), 99));
    b.load(copies / copy / "state");
    EXPECT_EQ(b.masters_hash(), a.masters_hash());
  }
}

TEST(Trainer, RefusesAStateOfAnotherModelOrADamagedOne) {
  TemporaryDirectory dir;
  Device& device = open_device("reference");
  TrainerConfig c;
  TrainerEngine a(device, c, *start_weights(device, tiny_config(Architecture::llama)));
  a.save(dir / "state");
  TrainerEngine other(device, c, *start_weights(device, tiny_config(Architecture::qwen3)));
  EXPECT_THROW(other.load(dir / "state"), Error);
  const std::string bytes = read_file(dir / "state");
  std::ofstream(dir / "half") << bytes.substr(0, bytes.size() / 2);
  const Hash128 before = a.masters_hash();
  EXPECT_THROW(a.load(dir / "half"), Error);
  EXPECT_EQ(a.masters_hash(), before);
  EXPECT_THROW(a.load(dir / "absent"), Error);
}

TEST(Trainer, AnEmptyBatchMakesAVersionAndChangesNothingElse) {
  Device& device = open_device("cpu");
  const ModelConfig model = small_config();
  TrainerConfig c;
  c.weight_decay = 0.1;
  TrainerEngine a(device, c, *start_weights(device, model)), b(device, c, *start_weights(device, model));
  const TrainBatch batch = random_batch(1, 8, model.vocab_size);
  TrainBatch nothing_counts = batch;
  for (Sequence& s : nothing_counts.sequences) std::fill(s.trainable.begin(), s.trainable.end(), 0);
  const Hash128 before = a.masters_hash();
  EXPECT_EQ(a.train({}).optimizer_steps, 0);
  EXPECT_EQ(a.train(nothing_counts).optimizer_steps, 0);
  EXPECT_EQ(a.version(), 2);
  EXPECT_EQ(a.masters_hash(), before);
  a.train(batch);
  b.train(batch);
  EXPECT_EQ(a.masters_hash(), b.masters_hash()) << "no step was counted";
}

TEST(Trainer, LossOfABatchDoesNotDependOnHowItIsCutIntoMicroBatches) {
  Device& device = open_device("cpu");
  const ModelConfig model = small_config();
  const TrainBatch batch = random_batch(1, 40, model.vocab_size);
  std::vector<double> losses, norms;
  for (int64_t budget : {16, 100, 100000}) {
    TrainerConfig c;
    c.objective = Objective::pretrain;
    c.micro_batch_tokens = budget;
    TrainerEngine e(device, c, *random_weights(device, model, 3));
    const TrainStats s = e.train(batch);
    losses.push_back(s.loss);
    norms.push_back(s.grad_norm);
  }
  for (size_t i = 1; i < losses.size(); ++i) {
    EXPECT_NEAR(losses[i], losses[0], 1e-5);
    EXPECT_NEAR(norms[i], norms[0], 1e-4 * norms[0]);
  }
}

TEST(Trainer, ClipsTheGradientsNorm) {
  Device& device = open_device("reference");
  const ModelConfig model = tiny_config(Architecture::llama);
  const TrainBatch batch = random_batch(1, 8, model.vocab_size);
  // Muon's first update does not depend on the gradient's scale, AdamW's second does: compare two clips after two steps.
  const auto hash = [&](double clip) {
    TrainerConfig c;
    c.clip_norm = clip;
    c.eps = 1e-2;  // so that AdamW sees the scale
    TrainerEngine e(device, c, *random_weights(device, model, 3));
    EXPECT_GT(e.train(batch).grad_norm, 0.1) << "reported before clipping";
    return e.masters_hash();
  };
  EXPECT_NE(hash(0.05), hash(0));
  EXPECT_EQ(hash(1e6), hash(0));
}

TEST(Trainer, BradleyTerryLearnsWhichTokenIsPreferred) {
  Device& device = open_device("cpu");
  const ModelConfig model = small_config();
  TrainerConfig c;
  c.objective = Objective::reward_model;
  c.lr = 3e-3;
  c.score_l2 = 0.005;
  TrainerEngine e(device, c, *start_weights(device, model));
  EXPECT_TRUE(e.masters().config().scalar_head);
  // Chosen: token 3 somewhere; rejected: token 4 instead.
  const auto pairs = [&](uint64_t seed) {
    Rng rng(seed, "pairs");
    TrainBatch b;
    for (int i = 0; i < 24; ++i) {
      Sequence s = random_sequence(rng, 4 + static_cast<int64_t>(rng.below(5)), 10, 0);
      for (int32_t& t : s.tokens) t += 5;
      const size_t at = rng.below(s.tokens.size());
      s.tokens[at] = 3;
      b.sequences.push_back(s);
      s.tokens[at] = 4;
      b.sequences.push_back(s);
    }
    return b;
  };
  EXPECT_NEAR(e.evaluate(pairs(1000)).loss, std::log(2.0), 1e-5) << "the head starts at zero";
  for (uint64_t i = 0; i < 40; ++i) e.train(pairs(i));
  const TrainStats s = e.evaluate(pairs(1000));
  EXPECT_EQ(s.pair_accuracy, 1);
  EXPECT_LT(s.loss, 0.2);
  ScoringEngine scorer(device, e.weights());
  const TrainBatch b = pairs(1000);
  std::vector<std::vector<int32_t>> texts;
  for (const Sequence& q : b.sequences) texts.push_back(q.tokens);
  const std::vector<float> scores = scorer.scores(texts);
  for (size_t i = 0; i < scores.size(); i += 2) EXPECT_GT(scores[i], scores[i + 1]);
}

TEST(Scoring, LogprobsAreTheTrainersBitsInAnyPacking) {
  Device& device = open_device("cpu");
  for (const auto& [name, model] : tiny_configs()) {
    SCOPED_TRACE(name);
    TrainerConfig c;
    c.objective = Objective::grpo;
    c.temperature = 0.7;
    c.micro_batch_tokens = 50;
    c.precision = DType::bf16;
    TrainBatch batch = random_batch(5, 30, model.vocab_size);
    TrainerEngine e(device, c, *random_weights(device, model, 3));
    for (int64_t budget : {7, 64, 5000}) {
      const auto logp = ScoringEngine(device, e.weights(), budget).logprobs(batch.sequences, 0.7);
      int64_t tokens = 0;
      for (size_t i = 0; i < logp.size(); ++i) {
        Sequence& s = batch.sequences[i];
        s.behaviour_logp = logp[i];
        s.exact = s.trainable;
        s.version.assign(s.tokens.size(), e.version());
        EXPECT_EQ(logp[i][0], 0);
        for (uint8_t t : s.trainable) tokens += t;
      }
      const TrainStats stats = e.train(batch);  // advantages are 0: the weights stay
      EXPECT_EQ(stats.logprob_gap.max, 0);
      EXPECT_EQ(stats.logprob_gap.tokens, tokens);
    }
  }
}

TEST(Trainer, WholeStepsRunOnTheFakeDevice) {
  // Nothing in models/ may touch tensor memory: the fake device's addresses trap.
  Device& device = open_device("fake");
  const ModelConfig model = tiny_config(Architecture::qwen3);
  TrainerConfig c;
  c.optimizer = "muon";
  c.precision = DType::bf16;
  TrainerEngine e(device, c, *start_weights(device, model));
  const TrainBatch batch = random_batch(1, 6, model.vocab_size);
  EXPECT_GT(e.train(batch).loss, 0);
  EXPECT_EQ(ScoringEngine(device, e.weights()).logprobs(batch.sequences, 1).size(), 6u);
}

}  // namespace
}  // namespace r1::test
