#include "models/model_config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numbers>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "tests/models/tiny.h"
#include "tests/source_dir.h"

namespace r1::test {
namespace {

ModelConfig published(Architecture a, int64_t vocab, int64_t hidden, int64_t layers, int64_t heads, int64_t kv,
                      int64_t head_dim, int64_t ffn, bool tied) {
  ModelConfig c;
  c.architecture = a;
  c.vocab_size = vocab, c.hidden = hidden, c.layers = layers, c.heads = heads, c.kv_heads = kv, c.head_dim = head_dim,
  c.ffn = ffn;
  c.tied_head = tied;
  return c;
}

TEST(ModelConfig, CountsTheParametersOfPublishedModels) {
  // The counts that torch reports for these checkpoints.
  EXPECT_EQ(published(Architecture::qwen2, 151936, 896, 24, 14, 2, 64, 4864, true).parameter_count(), 494032768);
  EXPECT_EQ(published(Architecture::llama, 128256, 4096, 32, 32, 8, 128, 14336, false).parameter_count(), 8030261248);
  EXPECT_EQ(published(Architecture::qwen3, 151936, 1024, 28, 16, 8, 128, 3072, true).parameter_count(), 596049920);
}

TEST(ModelConfig, NamesParametersAsHuggingFaceDoes) {
  std::vector<std::string> names;
  ModelConfig c = tiny_config(Architecture::qwen3);
  c.layers = 1;
  for (const ParamSpec& s : param_specs(c)) {
    int64_t rows = 0;
    for (const ParamPart& p : s.parts) {
      EXPECT_EQ(p.row_begin, rows) << p.name;
      rows += p.rows;
      names.push_back(p.name);
    }
    EXPECT_EQ(rows, s.shape[0]) << s.name;
  }
  const std::string l = "model.layers.0.";
  EXPECT_EQ(names, (std::vector<std::string>{
                       "model.embed_tokens.weight", l + "input_layernorm.weight", l + "self_attn.q_proj.weight",
                       l + "self_attn.k_proj.weight", l + "self_attn.v_proj.weight", l + "self_attn.q_norm.weight",
                       l + "self_attn.k_norm.weight", l + "self_attn.o_proj.weight", l + "post_attention_layernorm.weight",
                       l + "mlp.gate_proj.weight", l + "mlp.up_proj.weight", l + "mlp.down_proj.weight", "model.norm.weight",
                       "lm_head.weight"}));
}

TEST(ModelConfig, HasBiasesWhereTheArchitectureHasThem) {
  const auto has = [](const ModelConfig& c, const std::string& name) {
    for (const ParamSpec& s : param_specs(c))
      for (const ParamPart& p : s.parts)
        if (p.name == name) return true;
    return false;
  };
  const ModelConfig qwen2 = tiny_config(Architecture::qwen2);
  EXPECT_TRUE(has(qwen2, "model.layers.1.self_attn.k_proj.bias"));
  EXPECT_FALSE(has(qwen2, "model.layers.1.self_attn.o_proj.bias"));
  EXPECT_FALSE(has(qwen2, "lm_head.weight")) << "a tied head has no entry";
  ModelConfig llama = tiny_config(Architecture::llama);
  EXPECT_FALSE(has(llama, "model.layers.0.self_attn.q_proj.bias"));
  llama.attention_bias = true;
  EXPECT_TRUE(has(llama, "model.layers.0.self_attn.o_proj.bias"));
  llama.scalar_head = true;
  EXPECT_TRUE(has(llama, "score.weight"));
  EXPECT_FALSE(has(llama, "lm_head.weight"));
}

TEST(ModelConfig, SurvivesWritingAndReading) {
  for (auto [name, c] : tiny_configs()) {
    c.bos_id = 1;
    c.eos_ids = {2};
    c.scalar_head = true;
    c.sees = "answer";
    const std::string text = model_config_json(c, "bfloat16");
    const ModelConfig back = parse_model_config(text, "config.json");
    EXPECT_EQ(model_config_json(back, "bfloat16"), text) << name;
    EXPECT_EQ(back.rms_eps, c.rms_eps);
    EXPECT_EQ(back.parameter_count(), c.parameter_count());
    EXPECT_EQ(rope_table(back), rope_table(c));
  }
}

TEST(ModelConfig, ReadsTheKeysOfLlama31) {
  const ModelConfig c =
      parse_model_config(R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
    "max_position_embeddings": 131072, "mlp_bias": false, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32,
    "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16", "vocab_size": 128256})",
                         "config.json");
  EXPECT_EQ(c.architecture, Architecture::llama);
  EXPECT_EQ(c.head_dim, 128);
  EXPECT_EQ(c.eos_ids, (std::vector<int32_t>{128001, 128008, 128009}));
  EXPECT_EQ(c.rope_factor, 8);
  EXPECT_EQ(c.rms_eps, 1e-5f);
  EXPECT_EQ(c.parameter_count(), 8030261248);
}

TEST(ModelConfig, RefusesBadFilesWithPlaceAndKey) {
  const std::string good = model_config_json(tiny_config(Architecture::llama), "float32");
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string s = good;
    const size_t at = s.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return s.replace(at, from.size(), to);
  };
  const struct {
    std::string text, said;
  } cases[] = {
      {"{\n  \"hidden_size\": ,", "not JSON"},
      {"[]", "object"},
      {replaced("\"llama\"", "\"lama\""), "lama"},
      {replaced("\"hidden_size\": 16,", ""), "hidden_size"},
      {replaced("\"hidden_size\": 16", "\"hidden_size\": -3"), "hidden_size"},
      {replaced("\"hidden_size\": 16", "\"hidden_size\": \"big\""), "hidden_size"},
      {replaced("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"), "num_key_value_heads"},
      {replaced("\"head_dim\": 4", "\"head_dim\": 5"), "head_dim"},
      {replaced("\"silu\"", "\"gelu\""), "hidden_act"},
      {replaced("\"rope_theta\": 100.0", "\"rope_theta\": 100.0, \"rope_scaling\": {\"type\": \"linear\"}"), "rope_scaling"},
      {replaced("\"silu\"", "\"silu\", \"partial_rotary_factor\": 0.5"), "partial_rotary_factor is 0.5"},
      {replaced("\"silu\"", "\"silu\", \"rope_parameters\": {\"rope_type\": \"default\", \"partial_rotary_factor\": 0.25}"),
       "partial_rotary_factor is 0.25"},
      {replaced("\"silu\"", "\"silu\", \"layer_types\": [\"full_attention\", \"sliding_attention\"]"), "sliding_attention"},
      {replaced("\"silu\"", "\"silu\", \"use_sliding_window\": true"), "use_sliding_window"},
  };
  for (const auto& c : cases) {
    try {
      parse_model_config(c.text, "dir/config.json");
      ADD_FAILURE() << "accepted: " << c.said;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      EXPECT_NE(e.message().find(c.said), std::string::npos) << e.message();
      EXPECT_EQ(e.where().file, "dir/config.json");
    }
  }
  try {
    parse_model_config(cases[0].text, "c");
  } catch (const Error& e) {
    EXPECT_EQ(e.where().line, 2);
    EXPECT_EQ(e.where().column, 18);
  }
}

TEST(ModelConfig, attention_that_says_it_is_whole_is_whole) {
  std::string text = model_config_json(tiny_config(Architecture::llama), "float32");
  text.insert(
      1, R"("partial_rotary_factor": 1.0, "layer_types": ["full_attention", "full_attention"], "use_sliding_window": false,)");
  EXPECT_EQ(parse_model_config(text, "c").layers, 2);
}

TEST(ModelConfig, is_as_large_as_its_layout_says) {
  for (const auto& [name, config] : tiny_configs())
    for (const bool scalar : {false, true}) {
      ModelConfig c = config;
      c.scalar_head = scalar;
      const auto specs = param_specs(c);
      size_t tensors = 0;
      for (const ParamSpec& spec : specs) tensors += spec.parts.size();
      EXPECT_EQ(c.size().parameters, static_cast<double>(c.parameter_count())) << name;
      EXPECT_EQ(c.size().tensors, static_cast<double>(tensors)) << name;
    }
}

TEST(ModelConfig, absurd_numbers_are_refused_alone_and_multiplied) {
  const auto refusal = [](std::string more) {
    for (const char* key : {"q_lora_rank", "n_routed_experts", "num_key_value_heads"})
      if (more.find(key) == std::string::npos) more += std::string(", \"") + key + "\": null";
    try {
      parse_model_config(R"({"model_type": "deepseek_v3", "vocab_size": 400, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 20, "num_attention_heads": 2, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
        "v_head_dim": 8)" + more +
                             "}",
                         "config.json");
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refusal(""), "accepted");
  const std::pair<const char*, const char*> cases[] = {
      {R"(, "max_position_embeddings": 2147483647)", "expected 1 to 16777216"},
      {R"(, "max_position_embeddings": 18446744073709551615)", "is 18446744073709551615, expected 1 to"},
      {R"(, "eos_token_id": 18446744073709551615)", "must be a token id, not 18446744073709551615"},
      {R"(, "bos_token_id": 1e9)", "must be a token id"},
      {R"(, "rope_theta": 1e300)", "\"rope_theta\" is 1e+300, expected 0 to 1000000000000"},
      {R"(, "rms_norm_eps": 1e300)", "\"rms_norm_eps\" is 1e+300"},
      {R"(, "rope_theta": 1e400)", "config.json:3:"},
      {R"(, "rope_scaling": {"type": "yarn", "factor": 1e300})", "\"factor\" is 1e+300"},
      {R"(, "vocab_size": 3)", "the key \"vocab_size\" stands twice"},
      {R"(, "n_routed_experts": 16384, "num_experts_per_tok": 1, "moe_intermediate_size": 1, "topk_method": "greedy")",
       "a model of 8.4e+05 tensors"},
  };
  for (const auto& [more, expected] : cases) EXPECT_NE(refusal(more).find(expected), std::string::npos) << refusal(more);
  const auto llama = [](const std::string& layers, const std::string& hidden, const std::string& heads) {
    return R"({"model_type": "llama", "vocab_size": 400, "intermediate_size": 64, "num_hidden_layers": )" + layers +
           R"(, "hidden_size": )" + hidden + R"(, "num_attention_heads": )" + heads + "}";
  };
  const auto message = [](const std::string& text) {
    try {
      parse_model_config(text, "config.json");
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_NE(message(llama("2147483647", "32", "2")).find("\"num_hidden_layers\" is 2147483647, expected 1 to 1024"),
            std::string::npos);
  EXPECT_NE(message(llama("1024", "1048576", "1024")).find("these sizes make a model of 4.5e+15 parameters"), std::string::npos)
      << message(llama("1024", "1048576", "1024"));
  EXPECT_LT(message(llama(std::string(200'000, '['), "32", "2")).size(), 200u);
}

TEST(RopeTable, KeepsHighFrequenciesAndDividesLowOnesForLlama3) {
  ModelConfig c = tiny_config(Architecture::llama);
  c.head_dim = 16;
  c.rope_theta = 500000;
  c.max_positions = 2;
  const std::vector<float> plain = rope_table(c);
  c.rope_factor = 8;
  c.rope_original_context = 8192;
  const std::vector<float> scaled = rope_table(c);
  // Position 1, sine of the frequency: the first is unchanged, the last one divided by the factor.
  EXPECT_EQ(scaled[16 + 8], plain[16 + 8]);
  EXPECT_NEAR(scaled[16 + 15] * 8, plain[16 + 15], 1e-9);
  // In between: frequency 5 has wavelength 22,910 > 8192 and is divided; 4 has 4443, inside the blend.
  const double f4 = std::pow(500000.0, -8.0 / 16), w4 = 2 * std::numbers::pi / f4, s = (8192 / w4 - 1) / 3;
  EXPECT_NEAR(scaled[16 + 8 + 4], std::sin((1 - s) * f4 / 8 + s * f4), 1e-9);
}

// The value of a key as r1 holds it.
nlohmann::json held(const ModelConfig& c, const std::string& key) {
  const auto or_null = [](int64_t id) { return id < 0 ? nlohmann::json() : nlohmann::json(id); };
  const std::map<std::string, nlohmann::json> all = {
      {"num_key_value_heads", c.kv_heads},
      {"max_position_embeddings", c.max_positions},
      {"rms_norm_eps", c.rms_eps},
      {"rope_theta", c.rope_theta},
      {"tie_word_embeddings", c.tied_head},
      {"bos_token_id", or_null(c.bos_id)},
      {"eos_token_id", or_null(c.eos_ids.empty() ? -1 : c.eos_ids[0])},
      {"hidden_act", "silu"},
      {"head_dim", c.head_dim},
      {"attention_bias", c.attention_bias},
      {"mlp_bias", c.mlp_bias},
      {"rope_scaling", c.rope_factor > 0   ? "llama3"
                       : c.yarn.factor > 0 ? "yarn"
                                           : "default"},
      {"original_max_position_embeddings",
       static_cast<int64_t>(c.rope_factor > 0 ? c.rope_original_context : c.yarn.original_context)},
      {"n_shared_experts", c.moe.shared},
      {"first_k_dense_replace", c.moe.first_dense},
      {"n_group", c.moe.groups},
      {"topk_group", c.moe.top_groups},
      {"routed_scaling_factor", c.moe.scale},
      {"norm_topk_prob", c.moe.normalize},
      {"rope_interleave", c.mla.rope_interleaved}};
  return all.at(key);
}

TEST(ModelConfig, AKeyThatIsLeftOutMeansWhatItMeansToTransformersOrIsRefusedByName) {
  const std::set<std::string> refused = {"q_lora_rank", "kv_lora_rank",     "qk_nope_head_dim",    "qk_rope_head_dim",
                                         "v_head_dim",  "n_routed_experts", "num_experts_per_tok", "moe_intermediate_size"};
  const auto cases = read_json_file(source_dir() / "tests/models/golden/config_defaults.json");
  int compared = 0;
  for (const auto& c : cases) {
    const auto key = c["without"].get<std::string>();
    const std::string what = c["model_type"].get<std::string>() + " without " + key;
    try {
      const nlohmann::json found = held(parse_model_config(c["config"].dump(), "config.json"), key);
      EXPECT_FALSE(refused.contains(key)) << what;
      if (key == "rms_norm_eps")
        EXPECT_EQ(found.get<float>(), c["value"].get<float>()) << what;
      else
        EXPECT_EQ(found, c["value"]) << what;
      ++compared;
    } catch (const Error& e) {
      EXPECT_TRUE(refused.contains(key)) << what << ": " << e.message();
      EXPECT_NE(e.message().find(key), std::string::npos) << what << ": " << e.message();
    }
  }
  EXPECT_GT(compared, 40);
}

TEST(ModelConfig, TwoRopeKeysThatDifferAreRefused) {
  const auto config = [](const std::string& more) {
    return R"({"model_type":"llama","vocab_size":10,"hidden_size":16,"intermediate_size":16,"num_hidden_layers":1,)"
           R"("num_attention_heads":2,"rope_parameters":{"rope_type":"default","rope_theta":7})" +
           more + "}";
  };
  EXPECT_EQ(parse_model_config(config(""), "c").rope_theta, 7);
  EXPECT_EQ(parse_model_config(config(R"(,"rope_scaling":null)"), "c").rope_theta, 7);
  EXPECT_EQ(parse_model_config(config(R"(,"rope_scaling":{"rope_type":"default","rope_theta":7})"), "c").rope_theta, 7);
  EXPECT_THROW(parse_model_config(config(R"(,"rope_scaling":{"rope_type":"yarn","factor":4})"), "c"), Error);
}

TEST(ModelConfig, ASequenceClassifierOfOneLabelIsARewardModel) {
  const std::string base =
      R"({"model_type":"qwen2","vocab_size":10,"hidden_size":16,"intermediate_size":16,"num_hidden_layers":1,)"
      R"("num_attention_heads":2,"num_key_value_heads":2,"architectures":["Qwen2ForSequenceClassification"])";
  const ModelConfig c = parse_model_config(base + R"(,"id2label":{"0":"LABEL_0"}})", "c");
  EXPECT_TRUE(c.scalar_head);
  const auto j = nlohmann::json::parse(model_config_json(c, "float32"));
  EXPECT_EQ(j["architectures"][0], "Qwen2ForSequenceClassification");
  EXPECT_EQ(j["id2label"].size(), 1u);
  EXPECT_THROW(parse_model_config(base + "}", "c"), Error) << "two labels, as transformers counts";
  EXPECT_THROW(parse_model_config(base + R"(,"id2label":{"0":"a","1":"b","2":"c"}})", "c"), Error);
}

}  // namespace
}  // namespace r1::test
