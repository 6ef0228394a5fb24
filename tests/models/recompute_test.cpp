// Layers whose activations are computed again in the backward pass (Pass::recompute): the same bits. Their memory:
// tape_test.cpp.
#include <gtest/gtest.h>

#include "tests/models/tiny.h"

namespace r1::test {
namespace {

TEST(Recompute, GivesTheWeightsThatKeptActivationsGive) {
  for (const char* name : {"cpu", "fake"}) {
    Device& device = open_device(name);
    for (const auto& [model_name, model] : tiny_configs()) {
      for (DType precision : {DType::f32, DType::bf16}) {
        SCOPED_TRACE(std::string(name) + " " + model_name + " " + dtype_name(precision));
        std::vector<TrainStats> stats;
        std::vector<Hash128> masters;
        for (bool recompute : {false, true}) {
          TrainerConfig c;
          c.objective = Objective::pretrain;
          c.precision = precision;
          c.optimizer = "muon";
          c.micro_batch_tokens = 64;
          c.balance_loss = 0.1;
          c.mtp = model.has_mtp();
          c.recompute = recompute;
          TrainerEngine e(device, c, *random_weights(device, model, 3));
          for (uint64_t i = 0; i < 3; ++i) stats.push_back(e.train(random_batch(i, 12, model.vocab_size)));
          masters.push_back(e.masters_hash());
        }
        EXPECT_EQ(masters[0], masters[1]);
        for (size_t i = 0; i < 3; ++i) {
          EXPECT_EQ(stats[i].loss, stats[i + 3].loss);
          EXPECT_EQ(stats[i].grad_norm, stats[i + 3].grad_norm);
          EXPECT_EQ(stats[i].balance_loss, stats[i + 3].balance_loss);
          EXPECT_EQ(stats[i].expert_load, stats[i + 3].expert_load) << "tokens of experts are counted once";
          EXPECT_EQ(stats[i].mtp_loss, stats[i + 3].mtp_loss);
        }
      }
    }
  }
}

}  // namespace
}  // namespace r1::test
