#include "models/model_config.h"

#include <cmath>
#include <vector>

#include "models/config_reader.h"
#include "models/model_files.h"

namespace r1 {
namespace {

using PlainJson = nlohmann::json;

constexpr JsonOptions kConfigJson{.hint = "a model's config.json is expected", .max_bytes = 1 << 24};

const std::vector<std::string> kModelTypes = {"llama", "qwen2", "qwen3", "deepseek_v3"};
const char* const kScoringNames[] = {"LlamaForSequenceClassification", "Qwen2ForSequenceClassification",
                                     "Qwen3ForSequenceClassification", "DeepseekV3ForSequenceClassification"};
constexpr double kMostFactor = 1e6, kMostTheta = 1e12;
const char* const kClassNames[] = {"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "DeepseekV3ForCausalLM"};

Architecture read_architecture(const ConfigReader& r) {
  const std::string type = r.text("model_type", "").substr(0, 60);
  for (size_t i = 0; i < kModelTypes.size(); ++i)
    if (type == kModelTypes[i]) return static_cast<Architecture>(i);
  const std::string near = nearest(type, kModelTypes);
  r.fail(type.empty() ? "\"model_type\" is missing" : fmt::format("unknown model_type \"{}\"", type),
         near.empty() ? "known: llama, qwen2, qwen3, deepseek_v3" : fmt::format("did you mean \"{}\"?", near));
}

void read_yarn(const ConfigReader& s, const char* key, ModelConfig& c) {
  YarnConfig& y = c.yarn;
  if (s.has("attention_factor") || !s.flag("truncate", true))
    s.fail(fmt::format("\"{}\": attention_factor and truncate=false are not supported", key), "give mscale and mscale_all_dim");
  if (!s.has("factor")) s.fail(fmt::format("\"{}\" has no \"factor\"", key));
  y.factor = s.number("factor", 0, -kMostFactor, kMostFactor);
  y.beta_fast = s.number("beta_fast", 32, -kMostFactor, kMostFactor);
  y.beta_slow = s.number("beta_slow", 1, -kMostFactor, kMostFactor);
  y.mscale = s.number("mscale", 0, -kMostFactor, kMostFactor);
  y.mscale_all_dim = s.number("mscale_all_dim", 0, -kMostFactor, kMostFactor);
  y.original_context =
      s.number("original_max_position_embeddings", static_cast<double>(c.max_positions), 0, double{kMostPositions});
  if (!(y.factor > 0 && y.beta_slow > 0 && y.beta_fast >= y.beta_slow && y.original_context > 0))
    s.fail(fmt::format("\"{}\": expected factor > 0, 0 < beta_slow <= beta_fast and a positive original context", key));
}

// What transformers takes for a key that a config leaves out (tools/golden/config_defaults.py); "null" is no such case: it says
// "none", or "as many as there are heads".
struct Defaults {
  int64_t kv_heads;  // 0: as many as there are heads
  int64_t head_dim;  // 0: hidden / heads
  int64_t positions;
  int32_t bos, eos;
};
constexpr Defaults kDefaults[] = {{0, 0, 2048, 1, 2}, {32, 0, 32768, -1, -1}, {32, 128, 32768, -1, -1}, {128, 0, 4096, 0, 1}};

int64_t size_or(const ConfigReader& r, const char* key, int64_t missing, int64_t null, int64_t most) {
  if (!r.json.contains(key)) return missing > 0 ? missing : null;
  return r.size_or(key, null, most);
}

// A head of one score on the last token, by r1's own word or by transformers' class.
bool reads_scores(const ConfigReader& r) {
  const std::string head = r.text("r1_head", "");
  if (!head.empty() && head != "scalar") r.fail(fmt::format("r1_head \"{}\"", head), "known: scalar");
  std::string name;
  if (const auto at = r.json.find("architectures");
      at != r.json.end() && at->is_array() && !at->empty() && at->front().is_string())
    name = at->front().get<std::string>();
  if (!name.ends_with("ForSequenceClassification")) return head == "scalar";
  int64_t labels = 2;
  if (const auto at = r.json.find("id2label"); at != r.json.end() && at->is_object())
    labels = static_cast<int64_t>(at->size());
  else
    labels = r.count("num_labels", labels, kMostVocabulary);
  if (labels != 1)
    r.fail(fmt::format("a classifier of {} labels", labels), "a reward model has one: \"id2label\": {\"0\": \"LABEL_0\"}");
  return true;
}

// What transformers would compute otherwise, whatever the shapes of the weights.
void refuse_other_attention(const ConfigReader& r) {
  if (r.flag("use_sliding_window", false)) r.fail("use_sliding_window is true", "sliding-window attention is not supported");
  if (r.has("layer_types")) {
    const nlohmann::json full = "full_attention";
    for (const nlohmann::json& type : r.json.at("layer_types"))
      if (type != full) r.fail(fmt::format("layer_types has {}", type.dump()), "supported: \"full_attention\"");
  }
  for (const char* key : {"", "rope_parameters", "rope_scaling"}) {
    if (*key != 0 && !(r.has(key) && r.json.at(key).is_object())) continue;
    const ConfigReader s{*key == 0 ? r.json : r.json.at(key), r.file};
    if (s.number("partial_rotary_factor", 1, -1e9, 1e9) != 1)
      r.fail(fmt::format("partial_rotary_factor is {}", s.number("partial_rotary_factor")),
             "rotary embedding of a part of each head is not supported");
  }
}

void read_rope(const ConfigReader& r, ModelConfig& c) {
  c.rope_theta = r.number("rope_theta", 10000, 0, kMostTheta);
  if (r.has("rope_parameters") && r.has("rope_scaling") && r.json.at("rope_parameters") != r.json.at("rope_scaling"))
    r.fail("both \"rope_parameters\" and \"rope_scaling\" are given, and differ", "remove the one that does not hold");
  // Newer Hugging Face files nest everything in rope_parameters.
  const char* key = r.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!r.has(key)) return;
  if (!r.json.at(key).is_object()) r.fail(fmt::format("\"{}\" must be an object", key));
  const ConfigReader s{r.json.at(key), r.file};
  c.rope_theta = s.number("rope_theta", c.rope_theta, 0, kMostTheta);
  const std::string type = s.text("rope_type", s.text("type", "default"));
  if (type == "default") return;
  if (type == "yarn") return read_yarn(s, key, c);
  if (type != "llama3") r.fail(fmt::format("\"{}\" has type \"{}\"", key, type), "supported: default, llama3, yarn");
  for (const char* needed : {"factor", "low_freq_factor", "high_freq_factor"})
    if (!s.has(needed)) s.fail(fmt::format("\"{}\" has no \"{}\"", key, needed), "llama3 scaling needs it");
  c.rope_factor = s.number("factor", 0, -kMostFactor, kMostFactor);
  c.rope_low = s.number("low_freq_factor", 0, -kMostFactor, kMostFactor);
  c.rope_high = s.number("high_freq_factor", 0, -kMostFactor, kMostFactor);
  c.rope_original_context =
      s.number("original_max_position_embeddings", static_cast<double>(c.max_positions), 0, double{kMostPositions});
  if (c.rope_factor <= 0 || c.rope_high <= c.rope_low || c.rope_low <= 0 || c.rope_original_context <= 0)
    r.fail(fmt::format("\"{}\": expected factor > 0, 0 < low_freq_factor < high_freq_factor and a positive original context",
                       key));
}

// Each number may be sane and their product not.
void check_size(const ConfigReader& r, const ModelConfig& c) {
  constexpr double kMostParameters = 1e13, kMostTensors = 3e5;  // the largest published models: 1e12 and 7e4
  const ModelSize size = c.size();
  if (size.parameters > kMostParameters)
    r.fail(fmt::format("these sizes make a model of {:.2g} parameters", size.parameters), "expected at most 1e13");
  if (size.tensors > kMostTensors)
    r.fail(fmt::format("these sizes make a model of {:.2g} tensors", size.tensors),
           "expected at most 3e5; layers x experts x 3 of them are the experts'");
}

}  // namespace

ModelConfig parse_model_config(const std::string& text, const std::string& name) {
  const PlainJson json = parse_json(text, {name}, kConfigJson);
  if (!json.is_object()) throw bad_input("a JSON object is expected", {name});
  const ConfigReader r{json, name};
  ModelConfig c;
  c.architecture = read_architecture(r);
  c.vocab_size = r.size("vocab_size", kMostVocabulary);
  c.hidden = r.size("hidden_size", kMostWidth);
  c.layers = r.size("num_hidden_layers", kMostLayers);
  c.heads = r.size("num_attention_heads", kMostHeads);
  const Defaults& missing = kDefaults[static_cast<size_t>(c.architecture)];
  c.kv_heads = size_or(r, "num_key_value_heads", missing.kv_heads, c.heads, kMostHeads);
  c.ffn = r.size("intermediate_size", kMostWidth);
  if (c.is_mla()) {
    read_deepseek(r, c);
  } else {
    const bool own_head_dim = r.has("head_dim") || (!r.json.contains("head_dim") && missing.head_dim > 0);
    if (!own_head_dim && c.hidden % c.heads != 0)
      r.fail(fmt::format("hidden_size {} is not a multiple of num_attention_heads {}", c.hidden, c.heads), "or give head_dim");
    c.head_dim = size_or(r, "head_dim", missing.head_dim, c.hidden / c.heads, kMostWidth);
    if (c.heads % c.kv_heads != 0)
      r.fail(fmt::format("num_attention_heads {} is not a multiple of num_key_value_heads {}", c.heads, c.kv_heads));
    if (c.head_dim % 2 != 0) r.fail(fmt::format("head_dim {} is odd: rotary embedding needs pairs", c.head_dim));
  }
  if (r.has("quantization_config"))
    r.fail("\"quantization_config\": quantized weights are not supported yet", "convert the checkpoint to BF16 first");
  c.rms_eps = static_cast<float>(r.number("rms_norm_eps", 1e-6, -1, 1));
  if (!(c.rms_eps > 0)) r.fail(fmt::format("rms_norm_eps is {}, expected a positive number", c.rms_eps));
  c.max_positions = r.size_or("max_position_embeddings", missing.positions, kMostPositions);
  read_rope(r, c);
  if (!(c.rope_theta > 0)) r.fail(fmt::format("rope_theta is {}, expected a positive number", c.rope_theta));
  if (c.yarn.factor > 0 && !(c.rope_theta > 1)) r.fail(fmt::format("rope_theta is {}, YaRN needs more than 1", c.rope_theta));
  c.tied_head = r.flag("tie_word_embeddings", false);
  c.attention_bias = r.flag("attention_bias", false);
  c.mlp_bias = r.flag("mlp_bias", false);
  if (c.is_mla() && (c.attention_bias || c.mlp_bias))
    r.fail("attention_bias and mlp_bias are not supported for deepseek_v3", "the published models have none");
  if (r.text("hidden_act", "silu") != "silu")
    r.fail(fmt::format("hidden_act \"{}\"", r.text("hidden_act", "")), "supported: silu");
  refuse_other_attention(r);
  c.bos_id = r.json.contains("bos_token_id") ? r.id("bos_token_id") : missing.bos;
  if (r.json.contains("eos_token_id"))
    c.eos_ids = r.ids("eos_token_id", c.vocab_size);
  else if (missing.eos >= 0 && missing.eos < c.vocab_size)
    c.eos_ids = {missing.eos};
  c.pad_id = r.id("pad_token_id");
  if (c.bos_id >= c.vocab_size) r.fail(fmt::format("bos_token_id is {}, but vocab_size is {}", c.bos_id, c.vocab_size));
  if (r.has("r1_token_ids")) c.token_ids = r.size("r1_token_ids", c.vocab_size);
  c.scalar_head = reads_scores(r);
  c.sees = r.text("r1_sees", "");
  if (!c.sees.empty() && c.sees != "answer" && c.sees != "response")
    r.fail(fmt::format("r1_sees \"{}\"", c.sees), "known: answer, response");
  check_size(r, c);
  return c;
}

ModelConfig read_model_config_file(const std::filesystem::path& file) {
  return parse_model_config(read_small_file(file, kConfigJson.max_bytes), file.string());
}

ModelConfig read_model_config(const std::filesystem::path& model) {
  const auto text = model_text(model, "config.json");
  const std::string file = model_text_place(model, "config.json").file;
  if (!text) throw bad_input("no such file", {file}, "a model directory holds a config.json");
  ModelConfig config = parse_model_config(*text, file);
  // Published checkpoints name a module for multi-token prediction that copies of them have left out.
  if (config.mtp_layers > 0 && lacks_mtp_module(model, config.layers)) config.mtp_layers = 0;
  if (const auto generation = model_text(model, "generation_config.json")) {
    const Where where = model_text_place(model, "generation_config.json");
    const PlainJson json = parse_json(*generation, where, {.max_bytes = 1 << 24});
    if (!json.is_object()) throw bad_input("expected an object", where);
    add_end_tokens(config, ConfigReader{json, where.file}.ids("eos_token_id", config.vocab_size));
  }
  return config;
}

void add_end_tokens(ModelConfig& config, const std::vector<int32_t>& ids) {
  for (const int32_t id : ids)
    if (std::find(config.eos_ids.begin(), config.eos_ids.end(), id) == config.eos_ids.end()) config.eos_ids.push_back(id);
}

std::string model_config_json(const ModelConfig& c, const char* torch_dtype) {
  const auto a = static_cast<size_t>(c.architecture);
  nlohmann::ordered_json j;
  j["architectures"] = {c.scalar_head ? kScoringNames[a] : kClassNames[a]};
  j["model_type"] = kModelTypes[a];
  j["vocab_size"] = c.vocab_size;
  j["hidden_size"] = c.hidden;
  j["intermediate_size"] = c.ffn;
  j["num_hidden_layers"] = c.layers;
  j["num_attention_heads"] = c.heads;
  j["num_key_value_heads"] = c.kv_heads;
  j["head_dim"] = c.head_dim;
  j["hidden_act"] = "silu";
  j["max_position_embeddings"] = c.max_positions;
  // The shortest decimal that reads back as the same float.
  j["rms_norm_eps"] = parse_json(fmt::format("{}", c.rms_eps), {});
  j["rope_theta"] = c.rope_theta;
  if (c.rope_factor > 0)
    j["rope_scaling"] = {{"rope_type", "llama3"},
                         {"factor", c.rope_factor},
                         {"low_freq_factor", c.rope_low},
                         {"high_freq_factor", c.rope_high},
                         {"original_max_position_embeddings", static_cast<int64_t>(c.rope_original_context)}};
  if (c.yarn.factor > 0) {
    auto& y = j["rope_scaling"];
    y = {{"rope_type", "yarn"},           {"type", "yarn"},
         {"factor", c.yarn.factor},       {"beta_fast", c.yarn.beta_fast},
         {"beta_slow", c.yarn.beta_slow}, {"original_max_position_embeddings", static_cast<int64_t>(c.yarn.original_context)}};
    if (c.yarn.mscale != 0) y["mscale"] = c.yarn.mscale;
    if (c.yarn.mscale_all_dim != 0) y["mscale_all_dim"] = c.yarn.mscale_all_dim;
  }
  if (c.is_mla()) write_deepseek(c, j);
  j["tie_word_embeddings"] = c.tied_head;
  if (c.architecture != Architecture::qwen2) j["attention_bias"] = c.attention_bias;
  if (c.architecture == Architecture::llama) j["mlp_bias"] = c.mlp_bias;
  // A key that is missing would be read as its class's default.
  j["bos_token_id"] = nullptr;
  j["eos_token_id"] = nullptr;
  if (c.bos_id >= 0) j["bos_token_id"] = c.bos_id;
  if (c.eos_ids.size() == 1) j["eos_token_id"] = c.eos_ids[0];
  if (c.eos_ids.size() > 1) j["eos_token_id"] = c.eos_ids;
  if (c.pad_id >= 0) j["pad_token_id"] = c.pad_id;
  j["torch_dtype"] = torch_dtype;
  if (c.token_ids > 0) j["r1_token_ids"] = c.token_ids;
  if (c.scalar_head) {
    j["id2label"] = {{"0", "LABEL_0"}};
    j["label2id"] = {{"LABEL_0", 0}};
    j["r1_head"] = "scalar";
  }
  if (!c.sees.empty()) j["r1_sees"] = c.sees;
  return j.dump(2) + "\n";
}

}  // namespace r1
