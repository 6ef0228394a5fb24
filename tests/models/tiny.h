// Tiny models and batches for the tests of models/. Everything is a function of its seed.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/ops.h"
#include "models/model.h"
#include "models/training/trainer_engine.h"

namespace r1::test {

inline ModelConfig tiny_config(Architecture a) {
  ModelConfig c;
  c.architecture = a;
  c.vocab_size = 19;
  c.hidden = 16;
  c.layers = 2;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = a == Architecture::qwen3 ? 6 : 4;  // qwen3: heads * head_dim differs from hidden
  c.ffn = 24;
  c.rms_eps = 1e-6f;
  c.rope_theta = 100;
  c.max_positions = 64;
  if (a == Architecture::qwen2) c.tied_head = true;
  if (a == Architecture::deepseek_v3) {
    // A dense layer, then one with experts.
    c.kv_heads = 4;
    c.head_dim = 4;
    c.mla = {.q_rank = 10, .kv_rank = 8, .nope_dim = 3, .rope_dim = 4, .v_dim = 5, .rope_interleaved = true};
    c.moe = {.experts = 8, .shared = 2, .per_token = 3, .ffn = 6, .groups = 4, .top_groups = 2, .first_dense = 1, .scale = 1.5};
  }
  return c;
}

// What the first deepseek configuration is not: no query compression, rotated halves, YaRN, softmax without bias, no groups, no
// shared experts, every layer with experts, tied head.
inline ModelConfig tiny_deepseek_plain() {
  ModelConfig c = tiny_config(Architecture::deepseek_v3);
  c.tied_head = true;
  c.mla.q_rank = 0;
  c.mla.rope_interleaved = false;
  c.yarn = {.factor = 4, .beta_fast = 4, .beta_slow = 0.5, .original_context = 16, .mscale = 1, .mscale_all_dim = 0.7};
  c.moe.shared = c.moe.first_dense = 0;
  c.moe.per_token = 2;
  c.moe.groups = c.moe.top_groups = 1;
  c.moe.softmax = true;
  c.moe.normalize = c.moe.selection_bias = false;
  return c;
}

inline std::vector<std::pair<std::string, ModelConfig>> tiny_configs() {
  std::vector<std::pair<std::string, ModelConfig>> out = {{"llama", tiny_config(Architecture::llama)},
                                                          {"qwen2 tied", tiny_config(Architecture::qwen2)},
                                                          {"qwen3", tiny_config(Architecture::qwen3)}};
  ModelConfig biased = tiny_config(Architecture::llama);
  biased.attention_bias = biased.mlp_bias = true;
  biased.kv_heads = 4;
  biased.rope_factor = 8;
  biased.rope_original_context = 16;
  out.emplace_back("llama with biases and scaled rope", biased);
  out.emplace_back("deepseek_v3", tiny_config(Architecture::deepseek_v3));
  out.emplace_back("deepseek_v3 plain", tiny_deepseek_plain());
  out.emplace_back("deepseek_v3 mtp", tiny_config(Architecture::deepseek_v3));
  out.back().second.mtp_layers = 1;
  return out;
}

// Random weights with norms and biases moved away from their starting values, so that a test sees their gradients.
inline std::shared_ptr<WeightSet> random_weights(Device& device, const ModelConfig& config, uint64_t seed,
                                                 double head_std = 0.3) {
  auto w = std::make_shared<WeightSet>(device, config, DType::f32);
  initialize(*w, seed);
  Rng rng(seed, "test weights");
  for (size_t i = 0; i < w->specs().size(); ++i) {
    const ParamSpec& s = w->specs()[i];
    if (s.role == ParamRole::matrix || s.role == ParamRole::router) continue;
    std::vector<float> host(static_cast<size_t>(w->param(i).size()));
    for (float& x : host) {
      if (s.role == ParamRole::norm)
        x = static_cast<float>(1 + 0.2 * rng.normal());
      else if (s.role == ParamRole::bias || s.role == ParamRole::selection_bias)
        x = static_cast<float>(0.2 * rng.normal());
      else if (s.role == ParamRole::head)
        x = static_cast<float>(head_std * rng.normal());
      else
        x = static_cast<float>(0.4 * rng.normal());
    }
    upload(w->param(i), host);
  }
  return w;
}

inline Sequence random_sequence(Rng& rng, int64_t tokens, int64_t vocab, int64_t prompt) {
  Sequence s;
  for (int64_t i = 0; i < tokens; ++i) {
    s.tokens.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab))));
    s.trainable.push_back(i >= prompt);
  }
  return s;
}

// `count` sequences of 5 to 14 tokens, the first two or three of each not trainable.
inline TrainBatch random_batch(uint64_t seed, int64_t count, int64_t vocab) {
  Rng rng(seed, "test batch");
  TrainBatch b;
  for (int64_t i = 0; i < count; ++i)
    b.sequences.push_back(
        random_sequence(rng, 5 + static_cast<int64_t>(rng.below(10)), vocab, 2 + static_cast<int64_t>(rng.below(2))));
  return b;
}

// `groups` prompts of 6 to 9 tokens with `samples` completions each of 3 to 8.
inline TrainBatch grouped_batch(uint64_t seed, int64_t groups, int64_t samples, int64_t vocab) {
  Rng rng(seed, "test groups");
  TrainBatch b;
  for (int64_t g = 0; g < groups; ++g) {
    const auto prompt = 6 + static_cast<int64_t>(rng.below(4));
    const Sequence shared = random_sequence(rng, prompt, vocab, prompt);
    for (int64_t i = 0; i < samples; ++i) {
      Sequence s = random_sequence(rng, prompt + 3 + static_cast<int64_t>(rng.below(6)), vocab, prompt);
      std::copy(shared.tokens.begin(), shared.tokens.end(), s.tokens.begin());
      b.sequences.push_back(std::move(s));
    }
  }
  return b;
}

// What GRPO learns by: advantages, and log-probabilities of about -3.
inline void add_scores(TrainBatch& batch, Rng rng) {
  for (Sequence& s : batch.sequences) {
    s.advantage = static_cast<float>(rng.normal());
    for (size_t i = 0; i < s.tokens.size(); ++i) {
      s.behaviour_logp.push_back(static_cast<float>(-3 + 0.3 * rng.normal()));
      s.reference_logp.push_back(static_cast<float>(-3 + 0.3 * rng.normal()));
    }
  }
}

inline std::vector<float> all_values(const WeightSet& w) { return download_as<float>(w.flat()); }

}  // namespace r1::test
