// What a model is, as numbers: read from and written to a Hugging Face config.json (docs/recipe.md section 12).
// Thread rule: values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace r1 {

enum class Architecture { llama, qwen2, qwen3, deepseek_v3 };

// YaRN frequency scaling (Peng et al. 2023; docs/recipe.md section 9). factor 0: none.
struct YarnConfig {
  double factor = 0, beta_fast = 32, beta_slow = 1, original_context = 4096;
  double mscale = 0, mscale_all_dim = 0;  // 0: not given
  // What cos and sin are multiplied by.
  double table_scale() const;
};

// Multi-head latent attention (DeepSeek-V2, 2405.04434; docs/recipe.md section 8).
struct MlaConfig {
  int64_t q_rank = 0;                             // of the compressed query; 0: queries are projected directly
  int64_t kv_rank = 0;                            // of the latent that keys and values are expanded from
  int64_t nope_dim = 0, rope_dim = 0, v_dim = 0;  // of a head: key part without position, rotated part, value
  bool rope_interleaved = true;                   // pairs (2i, 2i+1), else (i, i + rope_dim/2)
};

// Mixture of experts (DeepSeekMoE; docs/recipe.md section 10). experts 0: all layers are dense.
struct MoeConfig {
  int64_t experts = 0, shared = 0;          // routed experts; experts that every token passes through
  int64_t per_token = 0, ffn = 0;           // routed experts a token goes to; feed-forward size of one expert
  int64_t groups = 1, top_groups = 1;       // experts stand in groups, of which the best top_groups stay
  int64_t first_dense = 0, layer_freq = 1;  // layers before first_dense are dense, then every layer_freq-th has experts
  double scale = 1;                         // of the routed experts' weights
  bool normalize = true;                    // weights of a token's experts sum to scale
  bool softmax = false;                     // scores by softmax (V2), else sigmoid (V3)
  bool selection_bias = true;               // noaux_tc: a learned bias takes part in the selection alone
  double aux_loss_alpha = 1e-4;             // kept from and for the file; a trainer's balance_loss is what counts
};

// Counted in double, so that no config overflows it: exact for every model that fits a machine.
struct ModelSize {
  double parameters = 0;
  double tensors = 0;  // published ones
};

struct ModelConfig {
  Architecture architecture = Architecture::llama;
  int64_t vocab_size = 0, hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0;
  float rms_eps = 1e-5f;
  double rope_theta = 10000;
  // llama3 frequency scaling (docs/recipe.md section 9); factor 0: none.
  double rope_factor = 0, rope_low = 1, rope_high = 4, rope_original_context = 8192;
  int64_t max_positions = 4096;
  bool tied_head = false;
  bool attention_bias = false;  // q, k, v (and o for llama); qwen2 always has q, k, v biases
  bool mlp_bias = false;
  YarnConfig yarn;
  MlaConfig mla;           // deepseek_v3 only; head_dim is mla.rope_dim there, kv_heads = heads
  MoeConfig moe;           // deepseek_v3 only
  int64_t mtp_layers = 0;  // multi-token prediction modules (deepseek_v3: 0 or 1)
  // Ids that the tokenizer has, where the vocabulary is padded beyond them: only those are sampled, and GRPO and its reference
  // take log-probabilities over them alone; SFT and pre-training over all ids ("r1_token_ids"). 0: all. A stage sets it.
  int64_t token_ids = 0;
  int32_t bos_id = -1, pad_id = -1;
  // The tokens that end a completion: "eos_token_id" of config.json, then those that generation_config.json adds (a chat
  // model's often stand only there). A stage adds the end token of its chat template (actors/end_tokens.h).
  std::vector<int32_t> eos_ids;
  // Reward models: a scalar head on the last token replaces the vocabulary head ("r1_head": "scalar"),
  // and "r1_sees": "answer" or "response" says what its judge shows it.
  bool scalar_head = false;
  std::string sees;

  int64_t sampled_ids() const { return token_ids > 0 ? token_ids : vocab_size; }
  bool is_mla() const { return architecture == Architecture::deepseek_v3; }
  // Whether layer l (the MTP module is layer `layers`) has experts.
  bool is_moe_layer(int64_t l) const { return moe.experts > 0 && l >= moe.first_dense && l % moe.layer_freq == 0; }
  // A reward model has nothing to predict tokens with.
  bool has_mtp() const { return mtp_layers > 0 && !scalar_head; }
  int64_t qk_head_dim() const { return is_mla() ? mla.nope_dim + mla.rope_dim : head_dim; }
  int64_t v_head_dim() const { return is_mla() ? mla.v_dim : head_dim; }
  int64_t rotary_dim() const { return is_mla() ? mla.rope_dim : head_dim; }
  // Factor on query-key products: qk_head_dim^-1/2, times YaRN's m^2 for deepseek_v3 (docs/recipe.md section 8; as Hugging
  // Face, whatever the context length).
  double attention_scale() const;

  // What param_layout() would count, without making a layout: for checks of numbers that nobody has looked at yet.
  ModelSize size() const;
  int64_t parameter_count() const;
  // Parameters that a token passes through with arithmetic, so that a forward pass takes about 2 * this FLOP a token: all but
  // the input embedding (a look-up; counted when it is the head too), the experts a token does not go to, and the MTP module.
  int64_t active_parameter_count() const;
};

// Throws bad_input with file and key: not JSON, unknown architecture, missing, inconsistent (hidden % heads, ...) or absurd
// numbers, alone or multiplied (docs/limits.md).
ModelConfig parse_model_config(const std::string& json, const std::string& name_for_errors);
ModelConfig read_model_config_file(const std::filesystem::path& config_json);
// config.json of a model (models/model_files.h: a directory or a GGUF file), and the end tokens of generation_config.json where
// there is one.
ModelConfig read_model_config(const std::filesystem::path& model);
// Puts those of `ids` that are new behind the others.
void add_end_tokens(ModelConfig&, const std::vector<int32_t>& ids);
std::string model_config_json(const ModelConfig&, const char* torch_dtype);

}  // namespace r1
