// config.json and parameters of deepseek_v3.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/error.h"
#include "models/model.h"
#include "tests/models/tiny.h"

namespace r1::test {
namespace {

// The keys and numbers of DeepSeek-V3's own config.json, without its quantization.
const std::string kPublished =
    R"({"architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
  "aux_loss_alpha": 0.001, "bos_token_id": 0, "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 3, "hidden_act": "silu",
  "hidden_size": 7168, "initializer_range": 0.02, "intermediate_size": 18432, "kv_lora_rank": 512,
  "max_position_embeddings": 163840, "model_type": "deepseek_v3", "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8,
  "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": true, "num_attention_heads": 128, "num_experts_per_tok": 8,
  "num_hidden_layers": 61, "num_key_value_heads": 128, "num_nextn_predict_layers": 1, "pretraining_tp": 1, "q_lora_rank": 1536,
  "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06, "rope_scaling": {"beta_fast": 32, "beta_slow": 1,
  "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096, "type": "yarn"}, "rope_theta": 10000,
  "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "seq_aux": true, "tie_word_embeddings": false, "topk_group": 4,
  "topk_method": "noaux_tc", "torch_dtype": "bfloat16", "use_cache": true, "v_head_dim": 128, "vocab_size": 129280})";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(DeepseekConfig, ReadsThePublishedFile) {
  const ModelConfig c = parse_model_config(kPublished, "config.json");
  EXPECT_EQ(c.architecture, Architecture::deepseek_v3);
  EXPECT_EQ(c.mla.q_rank, 1536);
  EXPECT_EQ(c.mla.kv_rank, 512);
  EXPECT_EQ(c.qk_head_dim(), 192);
  EXPECT_EQ(c.v_head_dim(), 128);
  EXPECT_EQ(c.rotary_dim(), 64);
  EXPECT_TRUE(c.mla.rope_interleaved);
  EXPECT_EQ(c.moe.experts, 256);
  EXPECT_EQ(c.moe.per_token, 8);
  EXPECT_EQ(c.moe.groups, 8);
  EXPECT_EQ(c.moe.top_groups, 4);
  EXPECT_EQ(c.moe.scale, 2.5);
  EXPECT_TRUE(c.moe.selection_bias);
  EXPECT_FALSE(c.moe.softmax);
  EXPECT_FALSE(c.is_moe_layer(2));
  EXPECT_TRUE(c.is_moe_layer(3));
  EXPECT_TRUE(c.is_moe_layer(61)) << "the MTP module's block has experts";
  EXPECT_EQ(c.mtp_layers, 1);
  // docs/recipe.md section 8: factor 40 gives m = 1.36889 and a scale of 0.13523; section 9: cos and sin keep their length.
  EXPECT_NEAR(c.attention_scale(), 0.13523, 1e-5);
  EXPECT_EQ(c.yarn.table_scale(), 1);
}

TEST(DeepseekConfig, CountsTheParametersOfThePublishedModel) {
  ModelConfig c = parse_model_config(kPublished, "config.json");
  const int64_t with_mtp = c.parameter_count();
  c.mtp_layers = 0;
  EXPECT_EQ(c.parameter_count(), 671'026'419'200);  // "671B"
  EXPECT_EQ(with_mtp - c.parameter_count(), 11'610'068'224);
  // "37B" active, of which the input embedding does no arithmetic.
  EXPECT_EQ(c.active_parameter_count() + c.vocab_size * c.hidden, 37'552'297'472);
  c.mtp_layers = 1;
  EXPECT_EQ(c.active_parameter_count() + c.vocab_size * c.hidden, 37'552'297'472);
}

TEST(DeepseekConfig, ReadsNullAndNestedAndAbsentKeys) {
  std::string text = replaced(kPublished, "\"q_lora_rank\": 1536", "\"q_lora_rank\": null, \"rope_interleave\": false");
  text = replaced(text, "\"rope_scaling\": {", "\"rope_parameters\": {\"rope_theta\": 777.0, ");
  text = replaced(text, "\"type\": \"yarn\"", "\"rope_type\": \"yarn\"");
  text = replaced(text, "\"mscale\": 1.0, \"mscale_all_dim\": 1.0, ", "");
  const ModelConfig c = parse_model_config(text, "config.json");
  EXPECT_EQ(c.mla.q_rank, 0);
  EXPECT_FALSE(c.mla.rope_interleaved);
  EXPECT_EQ(c.rope_theta, 777);
  EXPECT_NEAR(c.yarn.table_scale(), 0.1 * std::log(40.0) + 1, 1e-12);
  EXPECT_EQ(c.attention_scale(), 1 / std::sqrt(192.0));
  const ModelConfig dense =
      parse_model_config(replaced(kPublished, "\"n_routed_experts\": 256", "\"n_routed_experts\": null"), "config.json");
  EXPECT_FALSE(dense.is_moe_layer(5));
}

TEST(DeepseekConfig, RefusesBadFilesWithPlaceAndKey) {
  const struct {
    const char *from, *to, *said;
  } cases[] = {
      {"\"kv_lora_rank\": 512,", "", "kv_lora_rank"},
      {"\"qk_rope_head_dim\": 64", "\"qk_rope_head_dim\": 63", "qk_rope_head_dim 63 is odd"},
      {"\"num_key_value_heads\": 128", "\"num_key_value_heads\": 8", "num_key_value_heads is 8"},
      {"\"n_group\": 8", "\"n_group\": 7", "not a multiple of n_group 7"},
      {"\"n_group\": 8", "\"n_group\": 256", "leaves one expert in a group"},
      {"\"topk_group\": 4", "\"topk_group\": 9", "topk_group 9 is more than n_group 8"},
      {"\"num_experts_per_tok\": 8", "\"num_experts_per_tok\": 129", "num_experts_per_tok 129 is more than the 128"},
      {"\"moe_intermediate_size\": 2048,", "", "moe_intermediate_size"},
      {"\"scoring_func\": \"sigmoid\"", "\"scoring_func\": \"tanh\"", "scoring_func \"tanh\""},
      {"\"topk_method\": \"noaux_tc\"", "\"topk_method\": \"best\"", "topk_method \"best\""},
      {"\"routed_scaling_factor\": 2.5", "\"routed_scaling_factor\": 0", "routed_scaling_factor"},
      {"\"num_nextn_predict_layers\": 1", "\"num_nextn_predict_layers\": 2", "num_nextn_predict_layers is 2"},
      {"\"first_k_dense_replace\": 3", "\"first_k_dense_replace\": -1", "first_k_dense_replace"},
      {"\"attention_bias\": false", "\"attention_bias\": true", "attention_bias"},
      {"\"factor\": 40", "\"factor\": -1", "factor > 0"},
      {"\"factor\": 40,", "", "no \"factor\""},
      {"\"factor\": 40", "\"factor\": 40, \"attention_factor\": 2", "attention_factor"},
      {"\"rope_theta\": 10000", "\"rope_theta\": 1", "rope_theta"},
      {"\"use_cache\": true", "\"quantization_config\": {\"quant_method\": \"fp8\"}", "quantization_config"},
  };
  for (const auto& k : cases) {
    try {
      parse_model_config(replaced(kPublished, k.from, k.to), "dir/config.json");
      ADD_FAILURE() << "accepted: " << k.to;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      EXPECT_NE(e.message().find(k.said), std::string::npos) << e.message();
      EXPECT_EQ(e.where().file, "dir/config.json");
    }
  }
}

std::vector<std::string> names(const ModelConfig& c) {
  std::vector<std::string> out;
  for (const ParamSpec& s : param_specs(c)) {
    int64_t rows = 0;
    for (const ParamPart& p : s.parts) {
      EXPECT_EQ(p.row_begin, rows) << p.name;
      rows += p.rows;
      out.push_back(p.name);
    }
    EXPECT_EQ(rows, s.shape[0]) << s.name;
  }
  return out;
}

TEST(DeepseekLayout, HasThePublishedNames) {
  ModelConfig c = tiny_config(Architecture::deepseek_v3);
  c.moe.experts = 2;
  c.moe.groups = c.moe.top_groups = 1;
  c.mtp_layers = 1;
  std::vector<std::string> expected = {"model.embed_tokens.weight"};
  const auto add = [&](int layer, std::initializer_list<const char*> list) {
    for (const char* n : list) expected.push_back("model.layers." + std::to_string(layer) + "." + n);
  };
  const auto attention = [&](int layer) {
    add(layer, {"input_layernorm.weight", "self_attn.q_a_proj.weight", "self_attn.kv_a_proj_with_mqa.weight",
                "self_attn.q_a_layernorm.weight", "self_attn.q_b_proj.weight", "self_attn.kv_a_layernorm.weight",
                "self_attn.kv_b_proj.weight", "self_attn.o_proj.weight", "post_attention_layernorm.weight"});
  };
  const auto moe = [&](int layer) {
    add(layer,
        {"mlp.gate.weight", "mlp.experts.0.gate_proj.weight", "mlp.experts.0.up_proj.weight", "mlp.experts.1.gate_proj.weight",
         "mlp.experts.1.up_proj.weight", "mlp.experts.0.down_proj.weight", "mlp.experts.1.down_proj.weight",
         "mlp.shared_experts.gate_proj.weight", "mlp.shared_experts.up_proj.weight", "mlp.shared_experts.down_proj.weight"});
  };
  attention(0);
  add(0, {"mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight"});
  attention(1);
  moe(1);
  expected.insert(expected.end(), {"model.norm.weight", "lm_head.weight"});
  add(2, {"enorm.weight", "hnorm.weight", "eh_proj.weight"});
  attention(2);
  moe(2);
  add(2, {"shared_head.norm.weight"});
  add(1, {"mlp.gate.e_score_correction_bias"});
  add(2, {"mlp.gate.e_score_correction_bias"});
  EXPECT_EQ(names(c), expected);

  c.scalar_head = true;
  const std::vector<std::string> reward = names(c);
  EXPECT_EQ(std::count_if(reward.begin(), reward.end(), [](const auto& n) { return n.find("layers.2") != std::string::npos; }),
            0)
      << "a reward model has no MTP module";
}

TEST(DeepseekLayout, WithoutQueryCompressionHasOneQueryProjection) {
  ModelConfig c = tiny_config(Architecture::deepseek_v3);
  c.mla.q_rank = 0;
  const std::vector<std::string> n = names(c);
  EXPECT_EQ(std::count(n.begin(), n.end(), "model.layers.0.self_attn.q_proj.weight"), 1);
  for (const std::string& name : n) EXPECT_EQ(name.find("q_a_"), std::string::npos) << name;
}

TEST(RopeTable, YarnKeepsFastPairsAndDividesSlowOnes) {
  ModelConfig c = parse_model_config(kPublished, "config.json");
  c.max_positions = 2;
  const std::vector<float> yarn = rope_table(c);
  ModelConfig plain = c;
  plain.yarn.factor = 0;
  const std::vector<float> table = rope_table(plain);
  const auto sine = [](const std::vector<float>& t, int pair) { return t[64 + 32 + static_cast<size_t>(pair)]; };
  // docs/recipe.md section 9: the ramp runs from pair 10 to pair 23.
  for (int i : {0, 5, 10}) EXPECT_EQ(sine(yarn, i), sine(table, i)) << i;
  for (int i : {23, 31}) EXPECT_NEAR(sine(yarn, i) * 40, sine(table, i), 1e-7) << i;
  const double f = std::pow(10000.0, -2.0 * 15 / 64), ramp = 5.0 / 13;
  EXPECT_NEAR(sine(yarn, 15), std::sin(f / 40 * ramp + f * (1 - ramp)), 1e-8);
}

}  // namespace
}  // namespace r1::test
