#include "tools/bench/shapes.h"

#include "base/rng.h"
#include "kernels/ops.h"

namespace r1::bench {
namespace {

constexpr uint64_t kSeed = 1;

ModelConfig dense(Architecture a, int64_t vocab, int64_t hidden, int64_t layers, int64_t heads, int64_t kv_heads,
                  int64_t head_dim, int64_t ffn, bool tied) {
  ModelConfig c;
  c.architecture = a;
  c.vocab_size = vocab;
  c.hidden = hidden;
  c.layers = layers;
  c.heads = heads;
  c.kv_heads = kv_heads;
  c.head_dim = head_dim;
  c.ffn = ffn;
  c.tied_head = tied;
  c.attention_bias = a == Architecture::qwen2;
  c.max_positions = 1024;
  return c;
}

ModelConfig experts(int64_t vocab, int64_t hidden, int64_t layers, int64_t heads, const MlaConfig& mla, int64_t dense_ffn,
                    const MoeConfig& moe) {
  ModelConfig c = dense(Architecture::deepseek_v3, vocab, hidden, layers, heads, heads, mla.rope_dim, dense_ffn, false);
  c.mla = mla;
  c.moe = moe;
  return c;
}

}  // namespace

std::vector<BenchModel> bench_models(const std::string& size) {
  using enum Architecture;
  //            vocabulary, hidden, layers, heads, key heads, head size, feed-forward, tied head
  if (size == "tiny")
    return {{"llama", dense(llama, 400, 96, 3, 4, 4, 24, 256, false)},
            {"qwen2", dense(qwen2, 400, 96, 3, 4, 2, 24, 256, true)},
            {"deepseek_v3",
             experts(400, 96, 3, 4, {.q_rank = 0, .kv_rank = 48, .nope_dim = 16, .rope_dim = 8, .v_dim = 24}, 256,
                     {.experts = 8, .shared = 1, .per_token = 2, .ffn = 88, .groups = 2, .top_groups = 1, .first_dense = 1})}};
  if (size == "published")
    return {{"smollm2-135m", dense(llama, 49152, 576, 30, 9, 3, 64, 1536, true)},
            {"qwen2.5-0.5b", dense(qwen2, 151936, 896, 24, 14, 2, 64, 4864, true)}};
  return {
      {"llama", dense(llama, 16384, 512, 8, 8, 4, 64, 1536, false), 0.40, 0.40},
      {"qwen2", dense(qwen2, 16384, 640, 8, 10, 2, 64, 1728, true), 0.40, 0.40},
      {"qwen3", dense(qwen3, 16384, 512, 8, 8, 4, 128, 1536, true), 0.40, 0.40},
      {"deepseek_v3",
       experts(8192, 512, 7, 8, {.q_rank = 192, .kv_rank = 128, .nope_dim = 32, .rope_dim = 16, .v_dim = 32}, 1536,
               {.experts = 16, .shared = 1, .per_token = 4, .ffn = 256, .groups = 4, .top_groups = 2, .first_dense = 1}),
       0.30, 0.40},
  };
}

ModelConfig miniature(const ModelConfig& c) {
  ModelConfig m = c;
  m.vocab_size = 96;
  m.hidden = 64;
  m.layers = 2;
  m.heads = 4;
  m.kv_heads = c.kv_heads == c.heads ? 4 : 2;
  m.head_dim = 16;
  m.ffn = 96;
  m.max_positions = 128;
  if (c.is_mla()) {
    m.mla = {.q_rank = c.mla.q_rank > 0 ? 32 : 0, .kv_rank = 32, .nope_dim = 16, .rope_dim = 16, .v_dim = 16};
    m.moe = {.experts = 8, .shared = c.moe.shared, .per_token = 2, .ffn = 32, .groups = 2, .top_groups = 1, .first_dense = 1};
  }
  return m;
}

std::shared_ptr<WeightSet> bench_weights(Device& device, const ModelConfig& config, DType dtype) {
  auto f32 = std::make_shared<WeightSet>(device, config, DType::f32);
  initialize(*f32, kSeed);
  if (dtype == DType::f32) return f32;
  auto weights = std::make_shared<WeightSet>(device, config, dtype);
  Context ctx(device);
  copy_weights(ctx, *f32, *weights);
  return weights;
}

std::vector<Sequence> bench_sequences(const ModelConfig& config, int64_t count, int64_t length, uint64_t seed) {
  std::vector<Sequence> sequences(static_cast<size_t>(count));
  Rng rng(seed, "bench tokens");
  for (Sequence& s : sequences) {
    for (int64_t t = 0; t < length; ++t)
      s.tokens.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(config.vocab_size))));
    s.trainable.assign(s.tokens.size(), 1);
    s.trainable[0] = 0;
  }
  return sequences;
}

}  // namespace r1::bench
