// Metadata and names of a model in GGUF: config.json (models/gguf_model.h).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/clipped.h"
#include "base/error.h"
#include "base/json.h"
#include "models/gguf_model.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kKnown[] = {"llama", "qwen2", "qwen3"};

// Keys of the file under the architecture's prefix.
class Keys {
 public:
  explicit Keys(const GgufFile& file) : file_(file) {
    const GgufValue* value =
        file.metadata().count("general.architecture") ? &file.metadata().at("general.architecture") : nullptr;
    if (value == nullptr || value->list || value->type != GgufType::text) fail("\"general.architecture\" is missing");
    architecture_ = value->texts[0];
    if (std::find(std::begin(kKnown), std::end(kKnown), architecture_) == std::end(kKnown))
      fail(fmt::format("architecture \"{}\" is not supported", clipped(architecture_)),
           "supported in GGUF files: llama, qwen2, qwen3");
  }
  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const {
    throw bad_input("GGUF: " + what, {file_.file().path().string()}, hint);
  }
  const std::string& architecture() const { return architecture_; }
  std::string key(const char* name) const { return architecture_ + "." + name; }
  const GgufValue* find(const char* name) const {
    const auto it = file_.metadata().find(key(name));
    return it == file_.metadata().end() ? nullptr : &it->second;
  }
  // Of a list (a number a layer) all must be the same.
  std::optional<int64_t> integer(const char* name) const {
    const GgufValue* value = find(name);
    if (value == nullptr) return std::nullopt;
    const auto n = value->integer();
    if (!n) fail(fmt::format("\"{}\" must be an integer", key(name)));
    for (size_t i = 1; i < value->size(); ++i)
      if (value->integer(i) != n) fail(fmt::format("\"{}\" differs from layer to layer", key(name)), "that is not supported");
    return n;
  }
  int64_t needed(const char* name) const {
    const auto n = integer(name);
    if (!n) fail(fmt::format("\"{}\" is missing", key(name)));
    return *n;
  }
  std::optional<double> number(const char* name) const {
    const GgufValue* value = find(name);
    if (value == nullptr) return std::nullopt;
    const auto n = value->list ? std::nullopt : value->number();
    if (!n || !std::isfinite(*n)) fail(fmt::format("\"{}\" must be a number", key(name)));
    return n;
  }
  std::string text(const char* name) const {
    const GgufValue* value = find(name);
    if (value == nullptr) return {};
    if (value->list || value->type != GgufType::text) fail(fmt::format("\"{}\" must be a text", key(name)));
    return value->texts[0];
  }

 private:
  const GgufFile& file_;
  std::string architecture_;
};

// The shortest decimal that is the same float: files hold theta and eps as f32.
Json as_float(double value) { return Json(parse_json(fmt::format("{}", static_cast<float>(value)), {})); }

std::vector<float> rope_factors(double theta, int64_t dim, double factor, double low, double high, double context) {
  std::vector<float> out;
  for (int64_t i = 0; i < dim / 2; ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(dim));
    const double wave = 2 * std::numbers::pi / frequency;
    double by = 1;
    if (wave > context / low) {
      by = factor;
    } else if (wave >= context / high) {
      const double smooth = (context / wave - low) / (high - low);
      by = 1 / ((1 - smooth) / factor + smooth);
    }
    out.push_back(static_cast<float>(by));
  }
  return out;
}

// The file has the factors of llama3 scaling, not its parameters. Published models differ in the factor alone.
Json llama3_scaling(const Keys& keys, const GgufFile& file, const GgufTensor& tensor, double theta, int64_t dim) {
  constexpr double kLow = 1, kHigh = 4, kContext = 8192;
  if (tensor.type != GgufTensorType::f32 || tensor.shape != std::vector<int64_t>{dim / 2})
    keys.fail(fmt::format("tensor '{}' must be F32 [{}]", kRopeFactorsName, dim / 2));
  std::vector<float> found(static_cast<size_t>(dim / 2));
  file.file().read(tensor.offset, found.data(), tensor.bytes);
  const float factor = *std::max_element(found.begin(), found.end());
  const std::vector<float> wanted = rope_factors(theta, dim, factor, kLow, kHigh, kContext);
  for (size_t i = 0; i < found.size(); ++i)
    if (!(std::fabs(found[i] - wanted[i]) <= 1e-3f * wanted[i]))
      keys.fail(fmt::format("tensor '{}' is not llama3 scaling as published (low 1, high 4, context 8192)", kRopeFactorsName),
                "take the model's Hugging Face directory");
  return {{"rope_type", "llama3"},
          {"factor", as_float(factor)},
          {"low_freq_factor", kLow},
          {"high_freq_factor", kHigh},
          {"original_max_position_embeddings", static_cast<int64_t>(kContext)}};
}

void rope(const Keys& keys, const GgufFile& file, int64_t head_dim, int64_t positions, Json& j) {
  const double theta = keys.number("rope.freq_base").value_or(10000);
  j["rope_theta"] = as_float(theta);
  if (const auto dim = keys.integer("rope.dimension_count"); dim && *dim != head_dim)
    keys.fail(fmt::format("\"{}\" is {}, a head has {}", keys.key("rope.dimension_count"), *dim, head_dim),
              "rotating a part of a head is not supported");
  if (const GgufTensor* factors = file.find(kRopeFactorsName); factors != nullptr)
    j["rope_scaling"] = llama3_scaling(keys, file, *factors, theta, head_dim);
  const std::string type = keys.text("rope.scaling.type");
  if (type.empty() || type == "none") return;
  if (type != "yarn")
    keys.fail(fmt::format("\"{}\" is \"{}\"", keys.key("rope.scaling.type"), clipped(type)), "supported: none, yarn");
  j["rope_scaling"] = {
      {"rope_type", "yarn"},
      {"factor", as_float(keys.number("rope.scaling.factor").value_or(1))},
      {"original_max_position_embeddings", keys.integer("rope.scaling.original_context_length").value_or(positions)}};
}

struct Name {
  const char* published;
  const char* gguf;
};
constexpr Name kTop[] = {{"model.embed_tokens.weight", "token_embd.weight"},
                         {"model.norm.weight", "output_norm.weight"},
                         {"lm_head.weight", "output.weight"}};
constexpr Name kInLayer[] = {
    {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"}, {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};

std::string translate(std::string_view name, const char* Name::*from, const char* Name::*to, std::string_view from_layer,
                      std::string_view to_layer) {
  for (const Name& n : kTop)
    if (name == n.*from) return n.*to;
  if (!name.starts_with(from_layer)) return {};
  name.remove_prefix(from_layer.size());
  const size_t dot = name.find('.'), last = name.rfind('.');
  if (dot == name.npos || dot == 0 || last == dot || name.substr(0, dot).find_first_not_of("0123456789") != name.npos)
    return {};
  const std::string_view kind = name.substr(last + 1), part = name.substr(dot + 1, last - dot - 1);
  if (kind != "weight" && kind != "bias") return {};
  for (const Name& n : kInLayer)
    if (part == n.*from) return fmt::format("{}{}.{}.{}", to_layer, name.substr(0, dot), n.*to, kind);
  return {};
}

}  // namespace

std::string published_name(std::string_view name) {
  return translate(name, &Name::gguf, &Name::published, "blk.", "model.layers.");
}
std::string gguf_name(std::string_view name) { return translate(name, &Name::published, &Name::gguf, "model.layers.", "blk."); }

int64_t interleaved_head(const ModelConfig& config, std::string_view name) {
  if (config.architecture != Architecture::llama) return 0;
  return name.find(".self_attn.q_proj.") != name.npos || name.find(".self_attn.k_proj.") != name.npos ? config.head_dim : 0;
}

std::vector<float> llama3_rope_factors(const ModelConfig& c) {
  return rope_factors(c.rope_theta, c.head_dim, c.rope_factor, c.rope_low, c.rope_high, c.rope_original_context);
}

std::string gguf_config_json(const GgufFile& file) {
  const Keys keys(file);
  const GgufTensor* embedding = file.find("token_embd.weight");
  if (embedding == nullptr) keys.fail("tensor 'token_embd.weight' is missing", "this file holds no whole model");
  if (keys.integer("expert_count").value_or(0) > 0) keys.fail("a mixture of experts is not supported in GGUF files");
  if (keys.integer("attention.sliding_window").value_or(0) > 0) keys.fail("sliding-window attention is not supported");
  const int64_t heads = keys.needed("attention.head_count"), hidden = keys.needed("embedding_length");
  const int64_t positions = keys.needed("context_length");
  if (heads < 1) keys.fail(fmt::format("\"{}\" is {}", keys.key("attention.head_count"), heads));
  const int64_t head_dim = keys.integer("attention.key_length").value_or(hidden / heads);
  if (const auto value = keys.integer("attention.value_length"); value && *value != head_dim)
    keys.fail(fmt::format("\"{}\" is {}, keys have {}", keys.key("attention.value_length"), *value, head_dim));
  if (!keys.number("attention.layer_norm_rms_epsilon"))
    keys.fail(fmt::format("\"{}\" is missing", keys.key("attention.layer_norm_rms_epsilon")));
  Json j;
  j["model_type"] = keys.architecture();
  j["vocab_size"] = embedding->shape[0];
  j["hidden_size"] = hidden;
  j["intermediate_size"] = keys.needed("feed_forward_length");
  j["num_hidden_layers"] = keys.needed("block_count");
  j["num_attention_heads"] = heads;
  j["num_key_value_heads"] = keys.integer("attention.head_count_kv").value_or(heads);
  j["head_dim"] = head_dim;
  j["hidden_act"] = "silu";
  j["max_position_embeddings"] = positions;
  j["rms_norm_eps"] = as_float(*keys.number("attention.layer_norm_rms_epsilon"));
  rope(keys, file, head_dim, positions, j);
  j["tie_word_embeddings"] = file.find("output.weight") == nullptr;
  if (keys.architecture() != "qwen2") j["attention_bias"] = file.find("blk.0.attn_q.bias") != nullptr;
  if (keys.architecture() == "llama") j["mlp_bias"] = file.find("blk.0.ffn_gate.bias") != nullptr;
  const auto id = [&](const char* name) -> std::optional<int64_t> {
    const auto it = file.metadata().find(std::string("tokenizer.ggml.") + name);
    return it == file.metadata().end() ? std::nullopt : it->second.integer();
  };
  j["bos_token_id"] = nullptr;  // left out, it would be read as the class's default
  j["eos_token_id"] = nullptr;
  if (const auto bos = id("bos_token_id")) j["bos_token_id"] = *bos;
  Json ends = Json::array();
  for (const char* name : {"eos_token_id", "eot_token_id"})
    if (const auto end = id(name); end && std::find(ends.begin(), ends.end(), *end) == ends.end()) ends.push_back(*end);
  if (!ends.empty()) j["eos_token_id"] = ends.size() == 1 ? ends[0] : ends;
  if (const auto pad = id("padding_token_id")) j["pad_token_id"] = *pad;
  return j.dump(2) + "\n";
}

}  // namespace r1
