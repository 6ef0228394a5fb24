// The tape alone, on a graph that no present architecture has: the terms of a sum have other readers, before and after.
#include "models/tape.h"

#include <gtest/gtest.h>

#include <cmath>

#include "models/blocks.h"
#include "tests/models/tiny.h"

namespace r1::test {
namespace {

TEST(Tape, AddsUpGradientsOfValuesThatSeveralNodesRead) {
  Device& device = open_device("reference");
  const ModelConfig config = tiny_config(Architecture::llama);
  const auto w = random_weights(device, config, 3);
  const ParamLayout params = param_layout(config);
  const int table = params.embedding, square = params.layers[0].o, gain = params.layers[0].input_norm;
  Context ctx(device);
  const View ids = contiguous_view(device, device.allocate(12), DType::i32, std::array<int64_t, 1>{3}.data(), 1);
  upload(ids, std::vector<int32_t>{4, 7, 4});
  std::vector<float> seed(3 * 16);
  Rng rng(1, "tape");
  for (float& x : seed) x = static_cast<float>(rng.normal());

  // y = (e + W e) + norm(e) + W norm(e): e is read by four nodes, and the branch W e was computed before norm(e) reads e.
  const AttentionContext none = PackedAttention{};
  Tape tape;
  Gradients grads(*w);
  grads.zero(ctx);
  const auto forward = [&](Tape* t) {
    Pass p{ctx, *w, none, t, &grads};
    const Value e = embedding(p, ids, table), b = linear(p, e, square), n = rms_norm(p, e, gain, 1e-6f);
    const Value s = residual_add(p, e, b), c = linear(p, n, square);
    return residual_add(p, residual_add(p, n, s), c);
  };
  const Value y = forward(&tape);
  upload(tape.contribute(ctx, y.id).first, seed);
  Pass p{ctx, *w, none, &tape, &grads};
  run_backward(p);

  const auto loss = [&] {
    Tape scratch;  // with a tape, because blocks without one work in place and e has several readers
    const std::vector<float> out = download_as<float>(forward(&scratch).view);
    double sum = 0;
    for (size_t i = 0; i < out.size(); ++i) sum += static_cast<double>(out[i]) * seed[i];
    return sum;
  };
  for (int param : {table, square, gain}) {
    const View& view = w->param(static_cast<size_t>(param));
    std::vector<float> values = download_as<float>(view);
    const std::vector<float> gradient = download_as<float>(grads.param(param));
    for (size_t i = param == table ? 4 * 16 : 0, checked = 0; checked < 16; ++i, ++checked) {
      const float keep = values[i], h = 0.01f;
      values[i] = keep + h;
      upload(view, values);
      const double up = loss();
      values[i] = keep - h;
      upload(view, values);
      const double down = loss();
      values[i] = keep;
      upload(view, values);
      // f32 storage: noise of 1e-6 * |y| over 2h; truncation h^2 times a third derivative of order 1.
      EXPECT_NEAR((up - down) / (2 * h), gradient[i], 2e-3 + 2e-3 * std::abs(gradient[i])) << param << " " << i;
    }
  }
  device.free(ids.data, 12);
}

constexpr int64_t kTokens = 40;

// Of a pass over kTokens tokens: what its arena held at most, in bytes.
int64_t high_water(ModelConfig config, int64_t layers, bool learn, bool recompute) {
  Device& device = open_device("reference");
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
  Pass p{.ctx = ctx, .weights = *w, .attention = packed, .tape = &tape, .grads = &grads, .recompute = recompute};
  const Value y = model.trunk(p, ids, positions);
  if (learn) {
    run(ctx, Fill{tape.contribute(ctx, y.id).first, 1});
    run_backward(p);
  }
  return static_cast<int64_t>(ctx.arena.high_water_bytes());
}

TEST(Tape, ReusesBuffersSoThatBackwardNeedsFewOfThem) {
  // Gradients of a chain of layers fit into a fixed number of buffers: ten more layers cost activations only.
  const auto growth = [](bool learn) {
    const ModelConfig config = tiny_config(Architecture::llama);
    return static_cast<double>(high_water(config, 12, learn, false) - high_water(config, 2, learn, false));
  };
  EXPECT_GT(growth(false), 0);
  EXPECT_LT(growth(true), 1.05 * growth(false));
}

TEST(Tape, KeepsOneRowOfTheResidualStreamATokenOfALayerThatIsRecomputed) {
  for (Architecture a : {Architecture::qwen3, Architecture::deepseek_v3}) {
    const ModelConfig config = tiny_config(a);
    const int64_t row = kTokens * config.hidden * static_cast<int64_t>(sizeof(float));
    EXPECT_EQ(high_water(config, 12, true, true) - high_water(config, 2, true, true), 10 * row);
  }
}

}  // namespace
}  // namespace r1::test
