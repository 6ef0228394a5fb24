// Ranks of a trainer behind channels, in a ring: the bits of ranks that are threads, whatever they are told; and what they are
// told, as bytes.
#include "actors/far_ranks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <chrono>
#include <filesystem>
#include <map>
#include <mutex>
#include <thread>

#include "actors/rank_words.h"
#include "base/error.h"
#include "base/stop.h"
#include "base/turns.h"
#include "base/wait_note.h"
#include "kernels/ops.h"
#include "kernels/ring_ranks.h"
#include "models/training/scoring_engine.h"
#include "runtime/flow/step_world.h"
#include "tests/actors/memory_ranks.h"
#include "tests/models/tiny.h"

namespace r1::test {
namespace {

struct FarRanks : ::testing::Test {
  Device& device = open_device("cpu");
  MemoryRanks ranks;
  std::unique_ptr<Learner> learner(const TrainerConfig& config, const std::shared_ptr<WeightSet>& start) {
    return ranks.learner(device, config, start);
  }
};

TrainerConfig in_pieces(int64_t ranks, const char* optimizer, DType precision) {
  TrainerConfig c;
  c.micro_batch_tokens = 24;
  c.optimizer = optimizer;
  c.precision = precision;
  c.ranks = ranks;
  c.mini_batches = 2;
  return c;
}

TEST_F(FarRanks, learn_what_threads_learn_bit_by_bit) {
  std::string name = (std::filesystem::temp_directory_path() / "r1_far_XXXXXX").string();
  const std::filesystem::path top = mkdtemp(name.data());
  for (const char* optimizer : {"adamw", "muon"})
    for (DType precision : {DType::f32, DType::bf16})
      for (int64_t n : {2, 3, 4}) {
        SCOPED_TRACE(std::string(optimizer) + " " + dtype_name(precision) + " " + std::to_string(n));
        const auto start = random_weights(device, tiny_config(Architecture::deepseek_v3), 3);
        const TrainerConfig c = in_pieces(n, optimizer, precision);
        const auto threads = thread_ranked_learner(device, c, *start), far = learner(c, start);
        TrainerConfig changed = c;
        changed.lr = 3 * c.lr;
        for (uint64_t v = 0; v < 4; ++v) {
          if (v == 1)
            for (Learner* l : {threads.get(), far.get()}) l->change(changed);
          const TrainStats a = threads->train(random_batch(v, 16, 19)), b = far->train(random_batch(v, 16, 19));
          EXPECT_EQ(a.loss, b.loss);
          EXPECT_EQ(a.grad_norm, b.grad_norm);
          EXPECT_EQ(threads->weights()->hash(), far->weights()->hash());
          if (v == 2) {
            far->save(top / "state");
            far->train(random_batch(99, 16, 19));
            far->load(top / "state");
          }
        }
        EXPECT_EQ(threads->masters_hash(), far->masters_hash());
      }
  std::filesystem::remove_all(top);
}

TEST_F(FarRanks, learn_from_policies_what_threads_learn) {
  const auto start = random_weights(device, tiny_config(Architecture::llama), 3);
  TrainBatch batch = random_batch(5, 16, 19);
  const auto logp = ScoringEngine(device, start).logprobs(batch.sequences, 1);
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    Sequence& s = batch.sequences[i];
    s.behaviour_logp = s.reference_logp = logp[i];
    s.version.assign(s.tokens.size(), 0);
    s.exact = s.trainable;
    s.advantage = i % 2 == 0 ? 1.f : -0.8f;
  }
  batch.silent_sequences = 3;
  batch.silent_tokens = 20;
  TrainerConfig c = in_pieces(3, "adamw", DType::f32);
  c.objective = Objective::grpo;
  c.kl = 0.1;
  c.decoupled = true;
  c.inner_epochs = 2;
  const auto threads = thread_ranked_learner(device, c, *start), far = learner(c, start);
  const TrainStats a = threads->train(batch), b = far->train(batch);
  EXPECT_EQ(a.logprob_gap.tokens, b.logprob_gap.tokens);
  EXPECT_EQ(b.logprob_gap.max, 0);
  EXPECT_EQ(a.kl, b.kl);
  EXPECT_EQ(threads->masters_hash(), far->masters_hash());
}

TEST_F(FarRanks, an_error_of_what_they_compute_is_that_of_one_engine) {
  const auto start = random_weights(device, tiny_config(Architecture::llama), 3);
  TrainerConfig c = in_pieces(3, "adamw", DType::f32);
  c.lr = 1e30;
  c.mini_batches = 1;
  const auto far = learner(c, start);
  std::string what;
  try {
    for (uint64_t v = 0; v < 6; ++v) far->train(random_batch(v, 16, 19));
  } catch (const Error& e) {
    what = e.what();
  }
  EXPECT_NE(what, "");
  EXPECT_THROW(far->train(random_batch(1, 16, 19)), Error);
}

TEST_F(FarRanks, may_take_days_for_what_they_are_told) {
  const auto start = random_weights(device, tiny_config(Architecture::llama), 3);
  const auto far = learner(in_pieces(2, "adamw", DType::f32), start);
  far->train(random_batch(1, 16, 19));
  EXPECT_EQ(ranks.patience_s, MessageChannel::kForEver);
}

TEST_F(FarRanks, one_that_is_lost_while_all_learn_ends_what_all_are_doing_and_is_named) {
  const auto start = random_weights(device, tiny_config(Architecture::llama), 3);
  const TrainerConfig c = in_pieces(4, "adamw", DType::f32);
  for (const int64_t lost : {1, 2, 3}) {
    std::atomic<bool> stop{false};
    ranks.around = [&](int64_t rank, const std::function<void()>& serve) {
      const StopScope scope(rank == lost ? &stop : nullptr);
      try {
        serve();
      } catch (const Stopped&) {  // as a node that its head has closed, or that is gone
      }
    };
    const auto far = learner(c, start);
    far->train(random_batch(1, 16, 19));
    stop = true;
    try {
      for (int i = 0; i < 100; ++i) far->train(random_batch(1, 16, 19));
      ADD_FAILURE() << "rank " << lost << " is missing";
    } catch (const Error& e) {
      const std::string what = e.what(), left = "rank " + std::to_string(lost) + " has left";
      EXPECT_TRUE(what.find(left) != std::string::npos || what.find("the other end of a channel is gone") != std::string::npos)
          << what;
    }
    EXPECT_THROW(far->train(random_batch(1, 16, 19)), Error);
  }
}

TEST_F(FarRanks, who_waits_for_whom_is_said_while_it_lasts) {
  std::mutex mutex;
  std::map<std::string, std::vector<std::string>> said;
  const WaitSink sink = [&](const std::string& who, const std::string& reason) {
    const std::lock_guard lock(mutex);
    said[who].push_back(reason);
  };
  const WaitScope scope(&sink);
  const auto start = random_weights(device, tiny_config(Architecture::llama), 3);
  ranks.loads = [](int64_t rank) {
    if (rank == 2) std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  };
  learner(in_pieces(3, "adamw", DType::f32), start)->train(random_batch(1, 16, 19));
  // Rank 0 hears nothing of rank 2 and sends no sum on, for which rank 1 waits.
  for (const auto& [who, whom] : {std::pair{"rank 0", " for rank 2"}, {"rank 1", " for rank 0"}}) {
    ASSERT_GE(said[who].size(), 2u) << who;
    EXPECT_NE(said[who][0].find(whom), std::string::npos) << said[who][0];
    EXPECT_EQ(said[who].back(), "") << who;
  }
}

TEST(RanksInVirtualTime, one_that_comes_days_late_to_what_all_do_together_is_waited_for) {
  WorldOptions options;
  options.may_wait = [](const std::string&) { return true; };
  StepWorld world(options);
  Device& device = open_device("cpu");
  std::vector<ChannelEnds> from(3);
  for (ChannelEnds& ends : from) ends = channel_in_memory();
  std::vector<std::unique_ptr<Executor>> ranks;
  std::vector<float> sums(3);
  std::vector<std::string> errors(3);
  for (size_t r = 0; r < 3; ++r) {
    ranks.push_back(world.executor({world.new_life(), 0, 0}, "rank"));
    ranks.back()->submit({[&, r] {
                            const auto rank = ring_rank(std::move(from[(r + 2) % 3].other), std::move(from[r].one),
                                                        static_cast<int64_t>(r), 3);
                            Context ctx(device);
                            const Tensor x(device, DType::f32, {96});
                            run(ctx, Fill{x, 1});
                            for (int step = 0; step < 2; ++step) {
                              if (r == 1) {
                                std::mutex mutex;
                                std::unique_lock lock(mutex);
                                Condition().wait_or_stop(lock, 3 * 86'400, [] { return false; });
                              }
                              rank->all_reduce(ctx, x);
                            }
                            sums[r] = download_as<float>(x)[95];
                          },
                          [&, r](std::exception_ptr error) {
                            try {
                              if (error) std::rethrow_exception(error);
                            } catch (const Error& e) {
                              errors[r] = e.what();
                            }
                          }});
  }
  while (world.step()) {
  }
  EXPECT_EQ(errors, std::vector<std::string>(3));
  EXPECT_EQ(sums, std::vector<float>(3, 9));
  EXPECT_GT(world.clock().now_s(), 6 * 86'400);
}

// What ends a rank that is told this. Nobody answers what it asks the others.
std::string end_of_rank(const RankBegin& begin, const std::string& order) {
  Device& device = open_device("cpu");
  ChannelEnds ends = channel_in_memory();
  ends.one->send(channel_message("Begin", encode(begin)));
  try {
    MemoryRing ring;
    ends.one->send(channel_message("Before", begin.ring.previous_key));
    ends.one->send(channel_message("Order", order));
    serve_rank(
        *device_engines(device), "trainer", *ends.other,
        [&] { return random_weights(device, tiny_config(Architecture::llama), 3); }, ring.make());
  } catch (const Error& e) {
    return e.message();
  }
}

TEST(FarRank, what_no_head_says_ends_a_rank_by_an_error_and_not_its_process) {
  const RankBegin good{new_ring(7, {"rank 0", "rank 1"})[1], in_pieces(2, "adamw", DType::f32)};
  const auto train = [](const TrainBatch& batch) { return encode(RankOrder{RankOrder::Kind::train, &batch, nullptr}); };
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  const TrainBatch batch = random_batch(3, 5, 19);

  RankBegin begin = good;
  begin.config.micro_batch_tokens = 0;
  EXPECT_TRUE(has(end_of_rank(begin, train(batch)), "micro-batches of 0 tokens"));
  begin = good;
  begin.config.optimizer = "sgd";
  EXPECT_TRUE(has(end_of_rank(begin, train(batch)), "no optimizer 'sgd'"));
  begin = good;
  begin.config.objective = Objective::pretrain;
  begin.config.mtp = true;
  EXPECT_TRUE(has(end_of_rank(begin, train(batch)), "the model has no MTP module"));
  begin = good;
  begin.config.schedule = static_cast<Schedule>(3);
  EXPECT_TRUE(has(end_of_rank(begin, train(batch)), "a word that has no meaning"));

  for (const int32_t token : {-1, 1 << 20}) {
    TrainBatch outside = batch;
    outside.sequences[2].tokens[0] = token;
    const std::string end = end_of_rank(good, train(outside));
    EXPECT_TRUE(has(end, "the head says what no head says: token ")) << end;
  }
  TrainBatch shorter = batch;
  shorter.sequences[0].trainable.pop_back();
  EXPECT_NE(end_of_rank(good, train(shorter)), "");
  TrainBatch silent = batch;
  silent.silent_tokens = -1;
  EXPECT_TRUE(has(end_of_rank(good, train(silent)), "-1 silent tokens"));
  TrainerConfig other = good.config;
  other.mini_batches = 5;
  EXPECT_TRUE(has(end_of_rank(good, encode(RankOrder{RankOrder::Kind::change, nullptr, &other})), "another kind of training"));
}

TEST(RankWords, come_back_as_they_were_and_damaged_ones_are_errors) {
  RankBegin begin;
  begin.ring = new_ring(uint64_t{1} << 40, {"rank 0", "rank 1", "rank 2"})[2];
  begin.config = in_pieces(3, "muon", DType::bf16);
  begin.config.objective = Objective::grpo;
  begin.config.lr = 1.0 / 3;
  begin.config.kl = -0.0;
  begin.config.shuffle = true;
  begin.config.shuffle_key = ~uint64_t{0};
  begin.config.recompute = true;
  begin.config.loss_mean = LossMean::constant;
  const RankBegin back = decode_rank_begin(encode(begin));
  EXPECT_EQ(encode(back), encode(begin)) << "every member is named";
  EXPECT_EQ(back.ring.rank, 2);
  EXPECT_EQ(back.ring.attempt, uint64_t{1} << 40);
  EXPECT_EQ(back.ring.keys.secret_key, begin.ring.keys.secret_key);
  EXPECT_EQ(back.ring.previous_key + back.ring.next_key, begin.ring.previous_key + begin.ring.next_key);
  EXPECT_EQ(back.ring.name + back.ring.previous + back.ring.next, "rank 2rank 1rank 0");
  RankBegin none = begin;
  none.ring.next_key.pop_back();
  EXPECT_THROW(decode_rank_begin(encode(none)), Error) << "39 characters of a key";
  none = begin;
  none.ring.rank = 3;
  EXPECT_THROW(decode_rank_begin(encode(none)), Error) << "rank 3 of 3";
  none = begin;
  none.config.ranks = 4;
  EXPECT_THROW(decode_rank_begin(encode(none)), Error) << "a ring of other ranks";
  EXPECT_EQ(back.config.lr, begin.config.lr);
  EXPECT_TRUE(std::signbit(back.config.kl));
  EXPECT_EQ(back.config.shuffle_key, ~uint64_t{0});
  EXPECT_TRUE(back.config.recompute);
  EXPECT_EQ(back.config.loss_mean, LossMean::constant);
  EXPECT_EQ(back.config.precision, DType::bf16);

  TrainBatch batch = random_batch(3, 5, 19);
  batch.silent_tokens = 7;
  batch.sequences[1].reference_logp.assign(batch.sequences[1].tokens.size(), -0.25f);
  batch.sequences[1].advantage = -0.8f;
  const std::string order = encode(RankOrder{RankOrder::Kind::train, &batch, nullptr});
  const HeldOrder held = decode_rank_order(order);
  ASSERT_EQ(held.batch.sequences.size(), 5u);
  EXPECT_EQ(held.batch.silent_tokens, 7);
  EXPECT_EQ(held.batch.sequences[1].reference_logp, batch.sequences[1].reference_logp);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(held.batch.sequences[i].tokens, batch.sequences[i].tokens);
    EXPECT_EQ(held.batch.sequences[i].trainable, batch.sequences[i].trainable);
    EXPECT_EQ(held.batch.sequences[i].advantage, batch.sequences[i].advantage);
  }
  EXPECT_EQ(decode_rank_order(encode(RankOrder{RankOrder::Kind::save, nullptr, nullptr})).kind, RankOrder::Kind::save);
  for (const std::string& whole : {order, encode(begin)})
    for (size_t n = 0; n < whole.size(); n += 3) {
      EXPECT_THROW(decode_rank_order(whole.substr(0, n)), Error);
      EXPECT_THROW(decode_rank_begin(whole.substr(0, n)), Error);
    }
}

}  // namespace
}  // namespace r1::test
