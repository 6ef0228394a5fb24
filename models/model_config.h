// What a model is, as numbers: read from and written to a Hugging Face config.json (facts C7).
// Thread rule: values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace r1 {

enum class Architecture { llama, qwen2, qwen3 };  // deepseek_v3 follows

struct ModelConfig {
  Architecture architecture = Architecture::llama;
  int64_t vocab_size = 0, hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0;
  float rms_eps = 1e-5f;
  double rope_theta = 10000;
  // llama3 frequency scaling (facts C3); factor 0: none.
  double rope_factor = 0, rope_low = 1, rope_high = 4, rope_original_context = 8192;
  int64_t max_positions = 4096;
  bool tied_head = false;
  bool attention_bias = false;  // q, k, v (and o for llama); qwen2 always has q, k, v biases
  bool mlp_bias = false;
  int32_t bos_id = -1, eos_id = -1, pad_id = -1;
  // Reward models: a scalar head on the last token replaces the vocabulary head ("r1_head": "scalar"),
  // and "r1_sees": "answer" or "response" says what its judge shows it.
  bool scalar_head = false;
  std::string sees;

  int64_t parameter_count() const;
};

// Throws bad_input with file and key: not JSON, unknown architecture, missing or inconsistent numbers (hidden % heads, ...).
ModelConfig parse_model_config(const std::string& json, const std::string& name_for_errors);
ModelConfig read_model_config(const std::filesystem::path& model_dir);  // model_dir/config.json
std::string model_config_json(const ModelConfig&, const char* torch_dtype);

}  // namespace r1
