#include "models/training/weight_buffers.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "models/training/trainer_engine.h"
#include "tests/models/tiny.h"

namespace r1::test {
namespace {

struct Form {
  const char* optimizer;
  DType precision;
  double bias_update_rate;
};
constexpr Form kForms[] = {{"adamw", DType::bf16, 0.001},
                           {"adamw", DType::bf16, 0},
                           {"muon", DType::bf16, 0.001},
                           {"muon", DType::bf16, 0},
                           {"adamw", DType::f32, 0.001}};

// An MTP module that is not trained, selection biases, matrices of either optimizer: every way in which a parameter is written
// or is not.
ModelConfig model() {
  ModelConfig c = tiny_config(Architecture::deepseek_v3);
  c.mtp_layers = 1;
  return c;
}
TrainerConfig training(const Form& form) {
  TrainerConfig c;
  c.optimizer = form.optimizer;
  c.precision = form.precision;
  c.bias_update_rate = form.bias_update_rate;
  c.weight_decay = 0.1;
  return c;
}

TEST(HandedOutWeights, stay_what_they_were_and_change_no_bit_of_what_is_learned) {
  Device& device = open_device("cpu");
  for (const Form& form : kForms) {
    SCOPED_TRACE(fmt::format("{} {} {}", form.optimizer, dtype_name(form.precision), form.bias_update_rate));
    const auto start = random_weights(device, model(), 1);
    TrainerEngine asked(device, training(form), *start), alone(device, training(form), *start);
    std::vector<std::pair<std::shared_ptr<const WeightSet>, Hash128>> held;
    for (uint64_t step = 0; step < 4; ++step) {
      const auto weights = asked.weights();
      held.emplace_back(weights, weights->hash());
      EXPECT_EQ(asked.weights(), weights) << "nothing was learned between";
      const TrainBatch batch = random_batch(step, 4, model().vocab_size);
      asked.train(batch);
      alone.train(batch);
    }
    EXPECT_EQ(asked.masters_hash(), alone.masters_hash());
    EXPECT_EQ(asked.weights()->hash(), alone.weights()->hash());
    for (size_t i = 0; i < held.size(); ++i) {
      EXPECT_EQ(held[i].first->hash(), held[i].second) << "version " << i;
      for (size_t j = 0; j < i; ++j) EXPECT_NE(held[i].second, held[j].second);
    }
    WeightSet rounded(device, model(), form.precision);
    Context ctx(device);
    copy_weights(ctx, asked.masters(), rounded);
    device.finish();
    EXPECT_EQ(asked.weights()->hash(), rounded.hash());
  }
}

TEST(HandedOutWeights, of_a_receiver_that_keeps_up_take_the_memory_of_three_versions_at_most) {
  Device& device = open_device("cpu");
  for (const Form& form : kForms) {
    const auto start = random_weights(device, model(), 1);
    TrainerEngine engine(device, training(form), *start);
    std::set<const std::byte*> places;
    std::shared_ptr<const WeightSet> receiver;
    for (uint64_t step = 0; step < 8; ++step) {
      receiver = engine.weights();
      places.insert(receiver->flat().data);
      engine.train(random_batch(step, 4, model().vocab_size));
    }
    EXPECT_LE(places.size(), 3u);
  }
}

TEST(WeightBuffers, are_let_go_by_other_threads_and_after_their_owner) {
  Device& device = open_device("cpu");
  std::shared_ptr<WeightSet> last;
  {
    WeightBuffers buffers(device, model(), DType::bf16);
    for (int round = 0; round < 50; ++round) {
      std::vector<std::thread> readers;
      for (int i = 0; i < 3; ++i) readers.emplace_back([set = buffers.take()]() mutable { set.reset(); });
      for (std::thread& t : readers) t.join();
    }
    const auto first = buffers.take();
    last = buffers.take();
    EXPECT_NE(first->flat().data, last->flat().data);
  }
  EXPECT_GT(last->flat().size(), 0);
}

}  // namespace
}  // namespace r1::test
