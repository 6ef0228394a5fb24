// The text files of a model that is written (models/model_export.h).
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "models/gguf_model.h"
#include "models/model_export.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kTokenizer = "tokenizer.json";
constexpr const char* kTokenizerConfig = "tokenizer_config.json";
constexpr const char* kGeneration = "generation_config.json";
constexpr const char* kTemplate = "chat_template.jinja";
constexpr const char* kModule = "tokenization_plain.py";

std::optional<std::string> text_of(const ModelTexts& texts, const char* name) {
  const auto it = texts.find(name);
  return it == texts.end() ? std::nullopt : std::optional<std::string>(it->second);
}

Json object_of(const ModelTexts& texts, const char* name, const std::string& place) {
  const auto text = text_of(texts, name);
  if (!text) return Json::object();
  const nlohmann::json checked = parse_json(*text, {place + "/" + name});
  if (!checked.is_object()) throw bad_input("a JSON object is expected", {place + "/" + name});
  return ordered_json_or_null(*text);  // in the order of the file
}

// transformers 5 gives every model of type qwen2 the class Qwen2Tokenizer, which cuts texts by Qwen2's own pattern whatever
// tokenizer.json says. It leaves a class alone that the directory brings along - and, unless it is told to trust the
// directory's code, uses the plain class that tokenizer_config.json names instead. Both read tokenizer.json as it stands.
bool needs_own_class(const ModelConfig& config, const nlohmann::json& tokenizer) {
  if (config.architecture != Architecture::qwen2) return false;
  const GgufPreTokenizer* found = find_pre_tokenizer(tokenizer);
  const auto normalizer = tokenizer.find("normalizer");
  const bool nfc = normalizer != tokenizer.end() && normalizer->is_object() && normalizer->value("type", "") == "NFC";
  const auto model = tokenizer.find("model");
  const bool plain = model != tokenizer.end() && model->is_object() && !model->value("ignore_merges", false);
  return found == nullptr || found->names[0] != "qwen2" || !nfc || !plain;
}

void set_token(Json& j, const char* key, const Tokenizer& tokenizer, int32_t id) {
  if (j.contains(key) && !j[key].is_null()) return;
  if (const auto token = tokenizer.token_of(id)) j[key] = *token;
}

}  // namespace

ModelTexts stored_texts(const std::filesystem::path& model) {
  ModelTexts out;
  for (const char* name : {kTokenizer, kTokenizerConfig, kGeneration, kTemplate})
    if (auto text = model_text(model, name)) out[name] = std::move(*text);
  return out;
}

ModelTexts export_texts(const ModelTexts& given, const ModelConfig& config, const std::string& place) {
  ModelTexts out;
  if (const auto text = text_of(given, kTemplate)) out[kTemplate] = *text;
  Json generation = object_of(given, kGeneration, place);
  if (!config.scalar_head) {
    if (config.bos_id >= 0 && !generation.contains("bos_token_id")) generation["bos_token_id"] = config.bos_id;
    if (config.eos_ids.size() == 1) generation["eos_token_id"] = config.eos_ids[0];
    if (config.eos_ids.size() > 1) generation["eos_token_id"] = config.eos_ids;
    if (config.pad_id >= 0 && !generation.contains("pad_token_id")) generation["pad_token_id"] = config.pad_id;
    if (!generation.empty()) out[kGeneration] = generation.dump(2) + "\n";
  }
  const auto text = text_of(given, kTokenizer);
  if (!text) return out;
  out[kTokenizer] = *text;
  const Tokenizer tokenizer = Tokenizer::from_json(*text, place + "/" + kTokenizer);
  Json j = object_of(given, kTokenizerConfig, place);
  for (const char* key : {"auto_map", "tokenizer_file", "name_or_path", "backend"}) j.erase(key);
  j["tokenizer_class"] = "PreTrainedTokenizerFast";
  set_token(j, "bos_token", tokenizer, config.bos_id);
  if (!config.eos_ids.empty()) set_token(j, "eos_token", tokenizer, config.eos_ids[0]);
  set_token(j, "pad_token", tokenizer, config.pad_id);
  if (!j.contains("clean_up_tokenization_spaces")) j["clean_up_tokenization_spaces"] = false;
  if (!j.contains("model_max_length")) j["model_max_length"] = config.max_positions;
  if (needs_own_class(config, parse_json(*text, {place + "/" + kTokenizer}))) {
    j["auto_map"]["AutoTokenizer"] = {nullptr, "tokenization_plain.PlainTokenizer"};
    out[kModule] =
        "# tokenizer.json as it stands: transformers would read it by another pattern for this type of model.\n"
        "from transformers import PreTrainedTokenizerFast\n\n\n"
        "class PlainTokenizer(PreTrainedTokenizerFast):\n    pass\n";
  }
  out[kTokenizerConfig] = j.dump(2) + "\n";
  return out;
}

}  // namespace r1
