// deepseek_v3's part of a config.json: latent attention, experts, multi-token prediction (docs/recipe.md section 12); and what
// follows from the numbers.
#include <cmath>
#include <vector>

#include "models/config_reader.h"

namespace r1 {
namespace {

// What transformers takes for keys that a config leaves out: DeepSeek-V3's own numbers (tools/golden/config_defaults.py).
constexpr int64_t kSharedExperts = 1, kFirstDense = 3, kGroups = 8, kTopGroups = 4;
constexpr double kRoutedScale = 2.5;

// YaRN's m for a context `factor` times as long (docs/recipe.md section 8).
double yarn_m(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1; }

void read_mla(const ConfigReader& r, ModelConfig& c) {
  MlaConfig& m = c.mla;
  if (!r.json.contains("q_lora_rank")) r.fail("\"q_lora_rank\" is missing", "null: queries are not compressed");
  m.q_rank = r.has("q_lora_rank") ? r.size("q_lora_rank", kMostWidth) : 0;
  m.kv_rank = r.size("kv_lora_rank", kMostWidth);
  m.nope_dim = r.size("qk_nope_head_dim", kMostWidth);
  m.rope_dim = r.size("qk_rope_head_dim", kMostWidth);
  m.v_dim = r.size("v_head_dim", kMostWidth);
  m.rope_interleaved = r.flag("rope_interleave", true);
  if (m.rope_dim % 2 != 0) r.fail(fmt::format("qk_rope_head_dim {} is odd: rotary embedding needs pairs", m.rope_dim));
  if (c.kv_heads != c.heads)
    r.fail(fmt::format("num_key_value_heads is {}, num_attention_heads {}", c.kv_heads, c.heads),
           "latent attention has as many key heads as query heads");
  c.head_dim = m.rope_dim;
}

std::string choice(const ConfigReader& r, const char* key, const std::vector<std::string>& known) {
  const std::string text = r.text(key, known[0]);
  for (const std::string& k : known)
    if (k == text) return text;
  r.fail(fmt::format("{} \"{}\"", key, text), fmt::format("known: {}", fmt::join(known, ", ")));
}

void read_moe(const ConfigReader& r, ModelConfig& c) {
  MoeConfig& m = c.moe;
  if (!r.json.contains("n_routed_experts")) r.fail("\"n_routed_experts\" is missing", "null or 0: all layers are dense");
  m.experts = r.count("n_routed_experts", 0, kMostExperts);
  m.aux_loss_alpha = r.number("aux_loss_alpha", m.aux_loss_alpha, 0, 1e6);
  if (m.experts == 0) return;
  m.shared = r.count("n_shared_experts", r.json.contains("n_shared_experts") ? 0 : kSharedExperts, kMostExperts);
  m.per_token = r.size("num_experts_per_tok", kMostExperts);
  m.ffn = r.size("moe_intermediate_size", kMostWidth);
  m.first_dense = r.count("first_k_dense_replace", kFirstDense, kMostLayers);
  m.layer_freq = r.size_or("moe_layer_freq", 1, kMostLayers);
  m.scale = r.number("routed_scaling_factor", kRoutedScale, 0, 1e6);
  m.normalize = r.flag("norm_topk_prob", true);
  m.softmax = choice(r, "scoring_func", {"sigmoid", "softmax"}) == "softmax";
  const std::string method = choice(r, "topk_method", {"noaux_tc", "group_limited_greedy", "greedy"});
  m.selection_bias = method == "noaux_tc";
  if (method != "greedy") {
    m.groups = r.size_or("n_group", kGroups, kMostExperts);
    m.top_groups = r.size_or("topk_group", kTopGroups, kMostExperts);
  }
  if (!(m.scale > 0)) r.fail(fmt::format("routed_scaling_factor is {}, expected a positive number", m.scale));
  if (m.experts % m.groups != 0)
    r.fail(fmt::format("n_routed_experts {} is not a multiple of n_group {}", m.experts, m.groups));
  if (m.top_groups > m.groups) r.fail(fmt::format("topk_group {} is more than n_group {}", m.top_groups, m.groups));
  const int64_t in_group = m.experts / m.groups;
  if (m.groups > 1 && in_group < 2)
    r.fail(fmt::format("n_group {} leaves one expert in a group", m.groups), "a group is judged by its two best experts");
  if (m.per_token > m.top_groups * in_group)
    r.fail(fmt::format("num_experts_per_tok {} is more than the {} experts of {} groups", m.per_token, m.top_groups * in_group,
                       m.top_groups),
           "raise topk_group or lower num_experts_per_tok");
}

}  // namespace

void read_deepseek(const ConfigReader& r, ModelConfig& c) {
  read_mla(r, c);
  read_moe(r, c);
  c.mtp_layers = r.count("num_nextn_predict_layers", 0, kMostLayers);
  if (c.mtp_layers > 1)
    r.fail(fmt::format("num_nextn_predict_layers is {}", c.mtp_layers), "supported: 0 and 1, as in the published models");
}

void write_deepseek(const ModelConfig& c, nlohmann::ordered_json& j) {
  const MlaConfig& a = c.mla;
  const MoeConfig& m = c.moe;
  if (a.q_rank > 0)
    j["q_lora_rank"] = a.q_rank;
  else
    j["q_lora_rank"] = nullptr;
  j["kv_lora_rank"] = a.kv_rank;
  j["qk_nope_head_dim"] = a.nope_dim;
  j["qk_rope_head_dim"] = a.rope_dim;
  j["v_head_dim"] = a.v_dim;
  j["rope_interleave"] = a.rope_interleaved;
  j["num_nextn_predict_layers"] = c.mtp_layers;
  j["aux_loss_alpha"] = m.aux_loss_alpha;
  j["seq_aux"] = true;
  if (m.experts == 0) {
    j["n_routed_experts"] = nullptr;
    return;
  }
  j["n_routed_experts"] = m.experts;
  j["n_shared_experts"] = m.shared;
  j["num_experts_per_tok"] = m.per_token;
  j["moe_intermediate_size"] = m.ffn;
  j["first_k_dense_replace"] = m.first_dense;
  j["moe_layer_freq"] = m.layer_freq;
  j["n_group"] = m.groups;
  j["topk_group"] = m.top_groups;
  j["routed_scaling_factor"] = m.scale;
  j["norm_topk_prob"] = m.normalize;
  j["scoring_func"] = m.softmax ? "softmax" : "sigmoid";
  j["topk_method"] = m.selection_bias ? "noaux_tc" : m.groups > 1 ? "group_limited_greedy" : "greedy";
}

double YarnConfig::table_scale() const {
  if (factor == 0) return 1;
  if (mscale != 0 && mscale_all_dim != 0) return yarn_m(factor, mscale) / yarn_m(factor, mscale_all_dim);
  return yarn_m(factor, 1);
}

double ModelConfig::attention_scale() const {
  const double plain = 1 / std::sqrt(static_cast<double>(qk_head_dim()));
  if (!is_mla() || yarn.factor == 0 || yarn.mscale_all_dim == 0) return plain;
  const double m = yarn_m(yarn.factor, yarn.mscale_all_dim);
  return plain * m * m;
}

}  // namespace r1
