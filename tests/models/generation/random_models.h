// Small random models of every architecture, for tests. Biases and norms are random too, and the head is sharp enough that
// greedy, top-k and top-p differ from each other.
#pragma once

#include <memory>
#include <string>

#include "base/rng.h"
#include "kernels/ops.h"
#include "models/weights.h"

namespace r1::testing {

inline ModelConfig random_model_config(Architecture architecture) {
  ModelConfig c;
  c.architecture = architecture;
  c.vocab_size = 67;
  c.hidden = 48;
  c.layers = 2;
  c.heads = 4;
  c.kv_heads = architecture == Architecture::llama ? 4 : 2;
  c.head_dim = architecture == Architecture::qwen3 ? 16 : 12;
  c.ffn = 64;
  c.max_positions = 160;
  c.tied_head = architecture == Architecture::qwen3;
  c.eos_ids = {0};
  if (architecture == Architecture::deepseek_v3) {
    c.kv_heads = 4;
    c.mla = {.q_rank = 24, .kv_rank = 16, .nope_dim = 10, .rope_dim = 6, .v_dim = 12, .rope_interleaved = true};
    c.head_dim = c.mla.rope_dim;
    c.moe = {.experts = 8, .shared = 1, .per_token = 2, .ffn = 24, .groups = 2, .top_groups = 1, .first_dense = 1, .scale = 2};
  }
  return c;
}

inline std::shared_ptr<WeightSet> random_weights(Device& device, const ModelConfig& config, DType dtype, uint64_t seed) {
  WeightSet f32(device, config, DType::f32);
  initialize(f32, seed);
  for (size_t i = 0; i < f32.specs().size(); ++i) {
    const ParamSpec& spec = f32.specs()[i];
    std::vector<float> host = download_as<float>(f32.param(i));
    Rng rng(seed, "perturb " + spec.name);
    for (float& w : host) {
      if (spec.role == ParamRole::bias || spec.role == ParamRole::selection_bias) w = static_cast<float>(0.3 * rng.normal());
      if (spec.role == ParamRole::norm) w = static_cast<float>(1 + 0.2 * rng.normal());
      if (spec.role == ParamRole::head) w *= 15;
    }
    upload(f32.param(i), host);
  }
  auto result = std::make_shared<WeightSet>(device, config, dtype);
  Context ctx(device);
  copy_weights(ctx, f32, *result);
  return result;
}

inline const char* architecture_name(Architecture a) {
  return a == Architecture::llama   ? "llama"
         : a == Architecture::qwen2 ? "qwen2"
         : a == Architecture::qwen3 ? "qwen3"
                                    : "deepseek_v3";
}

}  // namespace r1::testing
