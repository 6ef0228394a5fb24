// tokenizer.json -> Tokenizer::Impl. Format: huggingface/tokenizers; see the list in tokenizer.h of what is understood.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/clipped.h"
#include "base/error.h"
#include "base/json.h"
#include "models/tokenizer/tokenizer_impl.h"
#include "models/tokenizer/utf8.h"

namespace r1 {

namespace {

using Json = nlohmann::json;

// Ids have gaps in files that people have, but not many: a table of all ids may be this much longer than the list of tokens.
constexpr int64_t kMaxId = (int64_t{1} << 22) - 1;  // published vocabularies end below 2^18
constexpr size_t kSpareIds = 65'536, kIdsPerToken = 16;
constexpr size_t kMaxNormalizers = 16;    // published files: at most 2
constexpr size_t kMaxPreTokenizers = 64;  // ... 5
constexpr size_t kMaxAdded = 64;          // tokens that a template puts around a text; published files: at most 2

// GPT-2's pattern, which ByteLevel applies when use_regex is true.
constexpr const char* kByteLevelPattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

class Parser {
 public:
  Parser(const std::string& file, Tokenizer::Impl& out) : file_(file), out_(out) {}

  void parse(std::string_view text) {
    const Json root =
        parse_json(text, {file_}, {.hint = "expected a Hugging Face tokenizer.json", .max_bytes = kMaxTokenizerBytes});
    if (!root.is_object()) fail("expected a JSON object with model, added_tokens, pre_tokenizer, ...");
    if (!root.contains("model")) fail("no \"model\": expected a Hugging Face tokenizer.json");
    const Json& added = member(root, "added_tokens");
    known_tokens_ = added.size();
    model(root["model"]);
    normalizer(member(root, "normalizer"), "normalizer");
    pre_tokenizer(member(root, "pre_tokenizer"), "pre_tokenizer");
    if (!byte_level_)
      fail("pre_tokenizer: no ByteLevel: only byte-level BPE is supported",
           "expected {\"type\":\"ByteLevel\"} as its last step");
    added_tokens(added);
    post_processor(member(root, "post_processor"), "post_processor");
    byte_decoder_ = false;
    decoder(member(root, "decoder"), "decoder");
    if (!byte_decoder_) fail("decoder: expected ByteLevel");
    bytes();
  }

 private:
  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const { throw bad_input(what, {file_}, hint); }

  static const Json& member(const Json& j, const char* key) {
    static const Json kNull;
    const auto it = j.find(key);
    return it == j.end() ? kNull : *it;
  }

  // Typed access: null and missing give the default, another type is an error.
  bool flag(const Json& j, const char* key, const std::string& path, bool otherwise = false) const {
    if (!j.contains(key) || j[key].is_null()) return otherwise;
    if (!j[key].is_boolean()) fail(fmt::format("{}.{}: expected true or false", path, key));
    return j[key].get<bool>();
  }
  std::string text(const Json& j, const char* key, const std::string& path) const {
    if (!j.contains(key) || !j[key].is_string()) fail(fmt::format("{}.{}: expected a string", path, key));
    return j[key].get<std::string>();
  }
  std::string type(const Json& j, const std::string& path) const {
    if (!j.is_object()) fail(fmt::format("{}: expected an object with a \"type\"", path));
    return text(j, "type", path);
  }
  const Json& list(const Json& j, const char* key, const std::string& path) const {
    if (!j.contains(key) || !j[key].is_array()) fail(fmt::format("{}.{}: expected a list", path, key));
    return j[key];
  }
  int32_t id(const Json& j, const std::string& path) const {
    const auto n = json_integer(j);
    if (!n || *n < 0 || *n > kMaxId) fail(fmt::format("{}: expected an id from 0 to {}, not {}", path, kMaxId, shown_json(j)));
    return static_cast<int32_t>(*n);
  }

  void name_id(int32_t id, const std::string& token) {
    if (static_cast<size_t>(id) >= out_.tokens.size()) {
      const size_t most = kSpareIds + kIdsPerToken * known_tokens_;
      if (static_cast<size_t>(id) >= most)
        fail(fmt::format("id {} of '{}' leaves a gap: with {} tokens ids end below {}", id, clipped(token), known_tokens_,
                         most));
      out_.tokens.resize(static_cast<size_t>(id) + 1);
      out_.special.resize(static_cast<size_t>(id) + 1);
    }
    std::string& slot = out_.tokens[static_cast<size_t>(id)];
    if (!slot.empty() && slot != token) fail(fmt::format("id {} belongs to both '{}' and '{}'", id, slot, token));
    slot = token;
  }

  void model(const Json& j) {
    const std::string kind =
        j.is_object() && j.contains("type") ? type(j, "model") : (j.is_object() ? "BPE" : type(j, "model"));
    if (kind != "BPE") fail(fmt::format("model.type '{}' is not supported", kind), "expected BPE");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (j.contains(key) && !j[key].is_null() && j[key] != "")
        fail(fmt::format("model.{} is not supported", key), "expected null");
    if (j.contains("dropout") && !j["dropout"].is_null() && j["dropout"] != 0.0)
      fail("model.dropout is not supported", "expected null: encoding must be repeatable");
    out_.bpe.ignore_merges = flag(j, "ignore_merges", "model");
    out_.bpe.fuse_unknown = flag(j, "fuse_unk", "model");
    if (flag(j, "byte_fallback", "model"))
      fail("model.byte_fallback is not supported", "expected false, as byte-level BPE has it");
    vocab(j);
    merges(j);
    if (j.contains("unk_token") && !j["unk_token"].is_null()) {
      const auto it = out_.bpe.vocab.find(text(j, "unk_token", "model"));
      if (it == out_.bpe.vocab.end())
        fail(fmt::format("model.unk_token '{}' is not in the vocabulary", text(j, "unk_token", "model")));
      out_.bpe.unknown_id = it->second;
    }
  }

  void vocab(const Json& j) {
    if (!j.contains("vocab") || !j["vocab"].is_object()) fail("model.vocab: expected an object of token -> id");
    if (j["vocab"].empty()) fail("model.vocab is empty");
    known_tokens_ += j["vocab"].size();
    out_.bpe.vocab.reserve(j["vocab"].size());
    for (const auto& [token, value] : j["vocab"].items()) {
      const int32_t n = id(value, fmt::format("model.vocab['{}']", token));
      if (token.empty()) fail("model.vocab holds an empty token");
      name_id(n, token);
      out_.bpe.vocab.emplace(token, n);
    }
  }

  void merges(const Json& j) {
    const Json& all = list(j, "merges", "model");
    out_.bpe.merges.reserve(all.size());
    uint32_t rank = 0;
    std::string left, right;
    for (const Json& m : all) {
      const std::string path = fmt::format("model.merges[{}]", rank);
      if (m.is_string()) {
        const std::string& both = m.get_ref<const std::string&>();
        const size_t space = both.find(' ');
        if (space == std::string::npos || both.find(' ', space + 1) != std::string::npos)
          fail(fmt::format("{}: expected two tokens with one space between them, got '{}'", path, both));
        left = both.substr(0, space);
        right = both.substr(space + 1);
      } else if (m.is_array() && m.size() == 2 && m[0].is_string() && m[1].is_string()) {
        left = m[0].get<std::string>();
        right = m[1].get<std::string>();
      } else {
        fail(path + ": expected \"left right\" or [\"left\", \"right\"]");
      }
      int32_t ids[3];
      const std::string* parts[2] = {&left, &right};
      for (int k = 0; k < 3; ++k) {
        const std::string token = k < 2 ? *parts[k] : left + right;
        const auto it = out_.bpe.vocab.find(token);
        if (it == out_.bpe.vocab.end()) fail(fmt::format("{}: the token '{}' is not in the vocabulary", path, token));
        ids[k] = it->second;
      }
      out_.bpe.merges.add(ids[0], ids[1], rank, ids[2]);
      ++rank;
    }
  }

  void normalizer(const Json& j, const std::string& path) {
    if (j.is_null()) return;
    const std::string kind = type(j, path);
    if (out_.normalizer.size() >= kMaxNormalizers) fail(fmt::format("{}: more than {} steps", path, kMaxNormalizers));
    if (kind == "Sequence") {
      for (const Json& part : list(j, "normalizers", path)) normalizer(part, path + ".normalizers");
    } else if (kind == "NFC") {
      out_.normalizer.push_back(NormalForm::nfc);
    } else if (kind == "NFD") {
      out_.normalizer.push_back(NormalForm::nfd);
    } else if (kind == "NFKC") {
      out_.normalizer.push_back(NormalForm::nfkc);
    } else if (kind == "NFKD") {
      out_.normalizer.push_back(NormalForm::nfkd);
    } else {
      fail(fmt::format("{}.type '{}' is not supported", path, kind), "expected NFC, NFD, NFKC, NFKD or Sequence");
    }
  }

  void pre_tokenizer(const Json& j, const std::string& path) {
    if (j.is_null()) return;
    const std::string kind = type(j, path);
    if (kind == "Sequence") {
      for (const Json& part : list(j, "pretokenizers", path)) pre_tokenizer(part, path + ".pretokenizers");
      return;
    }
    if (byte_level_) fail(fmt::format("{}: '{}' after ByteLevel is not supported", path, kind), "expected ByteLevel last");
    if (out_.pre_tokenizer.size() >= kMaxPreTokenizers) fail(fmt::format("{}: more than {} steps", path, kMaxPreTokenizers));
    PreTokenStep step;
    if (kind == "ByteLevel") {
      byte_level_ = true;
      step.add_prefix_space = flag(j, "add_prefix_space", path, true);
      if (flag(j, "use_regex", path, true)) step.pattern.emplace(kByteLevelPattern, file_);
      if (!step.add_prefix_space && !step.pattern) return;
    } else if (kind == "Digits") {
      step.pattern.emplace("\\p{N}", file_);
      step.behavior = flag(j, "individual_digits", path) ? SplitBehavior::isolated : SplitBehavior::contiguous;
    } else if (kind == "Split") {
      step.pattern.emplace(split_pattern(j, path), file_);
      step.behavior = behavior(text(j, "behavior", path), path);
      step.invert = flag(j, "invert", path);
    } else {
      fail(fmt::format("{}.type '{}' is not supported", path, kind), "expected Split, Digits, ByteLevel or Sequence");
    }
    out_.pre_tokenizer.push_back(std::move(step));
  }

  std::string split_pattern(const Json& j, const std::string& path) const {
    if (j.contains("pattern") && j["pattern"].is_object()) {
      const Json& p = j["pattern"];
      if (p.contains("Regex") && p["Regex"].is_string()) return p["Regex"].get<std::string>();
      if (p.contains("String") && p["String"].is_string() && p["String"] != "")
        return regex_quote(p["String"].get_ref<const std::string&>());
    }
    fail(path + ".pattern: expected {\"Regex\": ...} or {\"String\": ...}");
  }

  SplitBehavior behavior(const std::string& name, const std::string& path) const {
    if (name == "Isolated") return SplitBehavior::isolated;
    if (name == "Removed") return SplitBehavior::removed;
    if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
    if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
    if (name == "Contiguous") return SplitBehavior::contiguous;
    fail(fmt::format("{}.behavior '{}' is not known", path, name),
         "expected Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
  }

  void added_tokens(const Json& j) {
    if (j.is_null()) return;
    if (!j.is_array()) fail("added_tokens: expected a list");
    std::vector<AddedToken> tokens;
    for (const Json& t : j) {
      const std::string path = fmt::format("added_tokens[{}]", tokens.size());
      if (!t.is_object()) fail(path + ": expected an object with id and content");
      AddedToken token;
      token.content = text(t, "content", path);
      if (token.content.empty()) fail(path + ".content is empty");
      token.id = id(member(t, "id"), path + ".id");
      token.special = flag(t, "special", path);
      token.single_word = flag(t, "single_word", path);
      token.lstrip = flag(t, "lstrip", path);
      token.rstrip = flag(t, "rstrip", path);
      token.normalized = flag(t, "normalized", path, !token.special);
      const auto known = out_.bpe.vocab.find(token.content);
      if (known != out_.bpe.vocab.end() && known->second != token.id)
        fail(fmt::format("{}: '{}' has id {}, but {} in the vocabulary", path, token.content, token.id, known->second));
      name_id(token.id, token.content);
      if (!out_.added_ids.emplace(token.content, token.id).second)
        fail(fmt::format("{}: '{}' is listed twice", path, token.content));
      out_.special[static_cast<size_t>(token.id)] = token.special;
      tokens.push_back(std::move(token));
    }
    // Specials first: of two patterns that normalise to the same text, the special one is found.
    std::stable_partition(tokens.begin(), tokens.end(), [](const AddedToken& t) { return t.special; });
    for (const AddedToken& t : tokens) {
      if (t.normalized)
        out_.normalized_tokens.add(t, out_.normalize(t.content));
      else
        out_.raw_tokens.add(t, t.content);
    }
  }

  void post_processor(const Json& j, const std::string& path) {
    if (j.is_null()) return;
    const std::string kind = type(j, path);
    if (kind == "ByteLevel") return;  // it only trims offsets
    if (kind == "Sequence") {
      for (const Json& part : list(j, "processors", path)) post_processor(part, path + ".processors");
      return;
    }
    if (kind != "TemplateProcessing")
      fail(fmt::format("{}.type '{}' is not supported", path, kind), "expected ByteLevel, TemplateProcessing or Sequence");
    std::vector<int32_t> prefix, suffix;
    int sequences = 0;
    for (const Json& item : list(j, "single", path)) {
      if (item.is_object() && item.contains("Sequence")) {
        ++sequences;
      } else if (item.is_object() && item.contains("SpecialToken") && item["SpecialToken"].is_object()) {
        const std::string name = text(item["SpecialToken"], "id", path + ".single.SpecialToken");
        const Json& specials = member(j, "special_tokens");
        if (!specials.is_object() || !specials.contains(name) || !specials[name].is_object())
          fail(fmt::format("{}.special_tokens has no entry '{}'", path, name));
        for (const Json& n : list(specials[name], "ids", path + ".special_tokens." + name)) {
          const int32_t token = id(n, path + ".special_tokens." + name);
          if (static_cast<size_t>(token) >= out_.tokens.size() || out_.tokens[static_cast<size_t>(token)].empty())
            fail(fmt::format("{}.special_tokens.{}: no token has id {}", path, name, token));
          (sequences ? suffix : prefix).push_back(token);
        }
      } else {
        fail(path + ".single: expected items {\"SpecialToken\": ...} and {\"Sequence\": ...}");
      }
    }
    if (sequences != 1) fail(path + ".single: expected exactly one {\"Sequence\": ...}");
    if (out_.prefix.size() + prefix.size() + out_.suffix.size() + suffix.size() > kMaxAdded)
      fail(fmt::format("{}: more than {} special tokens around a text", path, kMaxAdded));
    out_.prefix.insert(out_.prefix.begin(), prefix.begin(), prefix.end());
    out_.suffix.insert(out_.suffix.end(), suffix.begin(), suffix.end());
  }

  void decoder(const Json& j, const std::string& path) {
    if (j.is_null()) return;
    const std::string kind = type(j, path);
    if (kind == "Sequence") {
      for (const Json& part : list(j, "decoders", path)) decoder(part, path + ".decoders");
    } else if (kind == "ByteLevel") {
      byte_decoder_ = true;
    } else if (kind != "Fuse") {
      fail(fmt::format("{}.type '{}' is not supported", path, kind), "expected ByteLevel");
    }
  }

  // Published vocabularies lack bytes that their training text had none of; such a byte is dropped, or becomes unk_token, as
  // in huggingface/tokenizers. Without a letter or a digit a vocabulary is damaged, and every text would lose something.
  void bytes() {
    for (int b = 0; b < 256; ++b) {
      const auto it = out_.bpe.vocab.find(utf8::byte_alphabet().text_of[static_cast<size_t>(b)]);
      out_.bpe.byte_ids[b] = it == out_.bpe.vocab.end() ? -1 : it->second;
      const bool plain_text = (b >= 0x20 && b < 0x7F) || b == '\n';
      if (out_.bpe.byte_ids[b] < 0 && plain_text && out_.bpe.unknown_id < 0)
        fail(fmt::format("model.vocab has no token '{}' for the byte 0x{:02X}",
                         utf8::byte_alphabet().text_of[static_cast<size_t>(b)], b),
             "byte-level BPE needs a token for each character of ASCII text, or an unk_token");
    }
  }

  const std::string& file_;
  Tokenizer::Impl& out_;
  size_t known_tokens_ = 0;  // that the file lists
  bool byte_level_ = false;
  bool byte_decoder_ = false;
};

}  // namespace

std::shared_ptr<const Tokenizer::Impl> parse_tokenizer_json(std::string_view json, const std::string& file) {
  auto impl = std::make_shared<Tokenizer::Impl>();
  Parser(file, *impl).parse(json);
  impl->json = json;
  return impl;
}

}  // namespace r1
