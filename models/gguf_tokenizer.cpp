// The tokenizer of a GGUF file as tokenizer.json and tokenizer_config.json (models/gguf_model.h).
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/clipped.h"
#include "base/error.h"
#include "base/json.h"
#include "models/gguf_model.h"

namespace r1 {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr const char* kUtf8 = "the texts of its tokenizer must be UTF-8";

#define R1_TAIL R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
constexpr const char* kQwen2 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)" R1_TAIL;
constexpr const char* kLlama3 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)" R1_TAIL;
#undef R1_TAIL
constexpr const char* kDeepseek =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

class MetadataReader {
 public:
  explicit MetadataReader(const GgufFile& file) : file_(file) {}

  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const {
    throw bad_input("GGUF: " + what, {file_.file().path().string()}, hint);
  }
  const GgufValue* find(const std::string& name) const {
    const auto it = file_.metadata().find(name);
    return it == file_.metadata().end() ? nullptr : &it->second;
  }
  std::string text(const std::string& name) const {
    const GgufValue* value = find(name);
    if (value == nullptr) return {};
    if (value->list || value->type != GgufType::text) fail(fmt::format("\"{}\" must be a text", name));
    return value->texts[0];
  }
  const std::vector<std::string>& texts(const std::string& name) const {
    const GgufValue* value = find(name);
    if (value == nullptr || !value->list || value->type != GgufType::text)
      fail(fmt::format("\"{}\" must be a list of texts", name), "this file holds no tokenizer that r1 can use");
    return value->texts;
  }
  bool flag(const std::string& name, bool otherwise) const {
    const GgufValue* value = find(name);
    if (value == nullptr) return otherwise;
    const auto flag = value->list ? std::nullopt : value->flag();
    if (!flag) fail(fmt::format("\"{}\" must be true or false", name));
    return *flag;
  }
  // The token that `name` gives the id of; "" when it gives none.
  std::string token(const std::string& name) const {
    const GgufValue* value = find(name);
    if (value == nullptr) return {};
    const auto& all = texts("tokenizer.ggml.tokens");
    const auto id = value->list ? std::nullopt : value->integer();
    if (!id || *id < 0 || static_cast<size_t>(*id) >= all.size())
      fail(fmt::format("\"{}\" is no id of the {} tokens", name, all.size()));
    return all[static_cast<size_t>(*id)];
  }

  const GgufPreTokenizer& pre_tokenizer() const {
    if (const std::string model = text("tokenizer.ggml.model"); model != "gpt2")
      fail(fmt::format("the tokenizer \"{}\" is not supported", clipped(model)), "supported: gpt2 (byte-level BPE)");
    const std::string name = text("tokenizer.ggml.pre");
    std::vector<std::string> known;
    for (const GgufPreTokenizer& p : gguf_pre_tokenizers()) {
      if (std::find(p.names.begin(), p.names.end(), name) != p.names.end()) return p;
      known.insert(known.end(), p.names.begin(), p.names.end());
    }
    fail(fmt::format("the pre-tokenizer \"{}\" is not known", clipped(name)), fmt::format("known: {}", fmt::join(known, ", ")));
  }

 private:
  const GgufFile& file_;
};

std::string quoted(const std::string& text) { return OrderedJson(text).dump(); }

OrderedJson split(const std::string& pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

OrderedJson pre_tokenizer_json(const GgufPreTokenizer& p) {
  OrderedJson steps = OrderedJson::array();
  for (const std::string& s : p.splits) steps.push_back(split(s));
  if (p.digits) steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", p.gpt2}});
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

// What stands around a text: BOS before it, EOS behind it.
OrderedJson post_processor_json(const MetadataReader& in, const GgufPreTokenizer& p) {
  OrderedJson single = OrderedJson::array(), pair = OrderedJson::array(), tokens = OrderedJson::object();
  const auto add = [&](const std::string& key, bool wanted) {
    const std::string token = wanted ? in.token(key) : "";
    if (token.empty()) return;
    const OrderedJson item = {{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
    single.push_back(item);
    pair.push_back(item);
    tokens[token] = {{"id", token}, {"ids", {*in.find(key)->integer()}}, {"tokens", {token}}};
  };
  add("tokenizer.ggml.bos_token_id", in.flag("tokenizer.ggml.add_bos_token", p.add_bos));
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  pair.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  add("tokenizer.ggml.eos_token_id", in.flag("tokenizer.ggml.add_eos_token", false));
  if (tokens.empty()) return nullptr;
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

}  // namespace

const std::vector<GgufPreTokenizer>& gguf_pre_tokenizers() {
  static const std::vector<GgufPreTokenizer> kTable = {
      {.names = {"gpt-2"}, .splits = {}, .gpt2 = true},
      {.names = {"smollm", "starcoder", "refact", "command-r", "codeshell"}, .splits = {}, .digits = true, .gpt2 = true},
      {.names = {"qwen2", "deepseek-r1-qwen"}, .splits = {kQwen2}, .nfc = true},
      {.names = {"llama-bpe", "llama3", "llama-v3"}, .splits = {kLlama3}, .ignore_merges = true, .add_bos = true},
      {.names = {"deepseek-v3"}, .splits = {R"(\p{N}{1,3})", "[一-龥\u3040-ゟ゠-ヿ]+", kDeepseek}, .add_bos = true},
  };
  return kTable;
}

const GgufPreTokenizer* find_pre_tokenizer(const nlohmann::json& tokenizer) {
  const auto at = tokenizer.find("pre_tokenizer");
  if (at == tokenizer.end() || !at->is_object()) return nullptr;
  nlohmann::json steps = nlohmann::json::array({*at});
  if (at->value("type", "") == "Sequence" && at->contains("pretokenizers")) steps = (*at)["pretokenizers"];
  GgufPreTokenizer found;
  for (const nlohmann::json& step : steps) {
    const std::string type = step.value("type", "");
    if (type == "Split" && step.value("behavior", "") == "Isolated" && !step.value("invert", false) &&
        step.contains("pattern") && step["pattern"].contains("Regex"))
      found.splits.push_back(step["pattern"]["Regex"].get<std::string>());
    else if (type == "Digits" && step.value("individual_digits", false))
      found.digits = true;
    else if (type == "ByteLevel" && !step.value("add_prefix_space", true))
      found.gpt2 = step.value("use_regex", true);
    else
      return nullptr;
  }
  for (const GgufPreTokenizer& p : gguf_pre_tokenizers())
    if (p.splits == found.splits && p.digits == found.digits && p.gpt2 == found.gpt2) return &p;
  return nullptr;
}

namespace {

std::string tokenizer_json(const MetadataReader& in) {
  const GgufPreTokenizer& pre = in.pre_tokenizer();
  const auto& tokens = in.texts("tokenizer.ggml.tokens");
  const GgufValue* types = in.find("tokenizer.ggml.token_type");
  if (types != nullptr && (!types->list || types->size() != tokens.size()))
    in.fail(fmt::format("\"tokenizer.ggml.token_type\" must be a list of {} numbers, one a token", tokens.size()));
  OrderedJson added = OrderedJson::array();
  std::string vocab;  // an ordered_json looks through all its keys at each insertion
  std::set<std::string_view> seen;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int64_t type = types == nullptr ? int64_t{kNormal} : types->integer(i).value_or(0);
    if (type < kNormal || type > kByte) in.fail(fmt::format("token {} has the unknown type {}", i, type));
    if (type == kUnused) continue;  // a row of the embedding that no token has
    if (!seen.insert(tokens[i]).second) in.fail(fmt::format("the token '{}' stands twice", clipped(tokens[i])));
    vocab += fmt::format("{}{}:{}", vocab.empty() ? "" : ",", quoted(tokens[i]), i);
    if (type == kNormal || type == kByte) continue;
    added.push_back({{"id", i},
                     {"content", tokens[i]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", type != kUserDefined}});
  }
  const OrderedJson byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  OrderedJson root = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", added}};
  root["normalizer"] = pre.nfc ? OrderedJson{{"type", "NFC"}} : OrderedJson(nullptr);
  root["pre_tokenizer"] = pre_tokenizer_json(pre);
  root["post_processor"] = post_processor_json(in, pre);
  root["decoder"] = byte_level;
  const OrderedJson model = {{"type", "BPE"},
                             {"dropout", nullptr},
                             {"unk_token", nullptr},
                             {"continuing_subword_prefix", nullptr},
                             {"end_of_word_suffix", nullptr},
                             {"fuse_unk", false},
                             {"byte_fallback", false},
                             {"ignore_merges", pre.ignore_merges}};
  const auto open = [](const OrderedJson& j) { return j.dump().substr(0, j.dump().size() - 1); };  // without its '}'
  return fmt::format("{},\"model\":{},\"vocab\":{{{}}},\"merges\":{}}}}}\n", open(root), open(model), vocab,
                     OrderedJson(in.texts("tokenizer.ggml.merges")).dump());
}

std::string tokenizer_config_json(const MetadataReader& in) {
  OrderedJson j = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  for (const auto& [key, name] : {std::pair{"bos_token_id", "bos_token"},
                                  {"eos_token_id", "eos_token"},
                                  {"padding_token_id", "pad_token"},
                                  {"unknown_token_id", "unk_token"}})
    if (const std::string token = in.token(std::string("tokenizer.ggml.") + key); !token.empty()) j[name] = token;
  if (const std::string text = in.text("tokenizer.chat_template"); !text.empty()) j["chat_template"] = text;
  return j.dump(2) + "\n";
}

// Texts that are no UTF-8 cannot be written as JSON.
template <class Body>
std::string as_json(const GgufFile& file, Body&& body) {
  return with_json_errors({file.file().path().string()}, kUtf8, [&] { return body(MetadataReader(file)); });
}

}  // namespace

std::string gguf_tokenizer_json(const GgufFile& file) { return as_json(file, tokenizer_json); }
std::string gguf_tokenizer_config_json(const GgufFile& file) { return as_json(file, tokenizer_config_json); }

}  // namespace r1
