// Layers whose activations are computed again in the backward pass (Pass::recompute): the same bits, less memory.
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

TEST(Recompute, ALayerCostsOneRowOfTheResidualStreamAToken) {
  Device& device = open_device("reference");
  constexpr int64_t kTokens = 40;
  for (Architecture a : {Architecture::qwen3, Architecture::deepseek_v3}) {
    ModelConfig config = tiny_config(a);
    const auto high_water = [&](int64_t layers) {
      config.layers = layers;
      const auto w = random_weights(device, config, 3);
      const Model model(device, config);
      Context ctx(device);
      Tape tape;
      Gradients grads(*w);
      const View ids = ctx.arena.alloc(DType::i32, {kTokens}), positions = ctx.arena.alloc(DType::i32, {kTokens}),
                 offsets = ctx.arena.alloc(DType::i32, {2});
      std::vector<int32_t> host(kTokens);
      for (size_t i = 0; i < host.size(); ++i) host[i] = static_cast<int32_t>(i) % 19;
      upload(ids, host);
      for (size_t i = 0; i < host.size(); ++i) host[i] = static_cast<int32_t>(i);
      upload(positions, host);
      upload(offsets, std::vector<int32_t>{0, kTokens});
      const AttentionContext packed = PackedAttention{offsets};
      Pass p{.ctx = ctx, .weights = *w, .attention = packed, .tape = &tape, .grads = &grads, .recompute = true};
      const Value y = model.trunk(p, ids, positions);
      run(ctx, Fill{tape.contribute(ctx, y.id).first, 1});
      run_backward(p);
      return ctx.arena.high_water_bytes();
    };
    const int64_t row = kTokens * config.hidden * static_cast<int64_t>(sizeof(float));
    EXPECT_EQ(high_water(12) - high_water(2), static_cast<size_t>(10 * row));
  }
}

}  // namespace
}  // namespace r1::test
