#include "tasks/tiny/tokenizer_json.h"

#include <nlohmann/json.hpp>

#include "tasks/tiny/vocabulary.h"

namespace r1 {

namespace {

constexpr int kTinyIds = 400;  // "vocab_size" of graphs/models

void append_utf8(std::string& out, unsigned c) {  // c < 0x800
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

// The 256 characters of byte-level BPE (docs/recipe.md section 13).
std::vector<std::string> byte_characters() {
  std::vector<std::string> out(256);
  unsigned next = 0x100;
  for (unsigned b = 0; b < 256; ++b) {
    const bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    append_utf8(out[b], itself ? b : next++);
  }
  return out;
}

}  // namespace

std::string tiny_tokenizer_json() {
  using Json = nlohmann::ordered_json;
  const auto bytes = byte_characters();
  Json vocab = Json::object(), added = Json::array();
  int id = 0;
  for (const std::string& word : tiny::vocabulary()) {
    if (word.size() > 1 && word.front() == '<') {
      const bool keep = word.find("think") != std::string::npos || word.find("answer") != std::string::npos;
      added.push_back({{"id", id},
                       {"content", word},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", !keep}});
      vocab[word] = id;  // huggingface/tokenizers gives an added token outside the vocabulary an id of its own choice
    } else {
      std::string token = bytes[' '];
      for (const char c : word) token += bytes[static_cast<uint8_t>(c)];
      vocab[token] = id;
    }
    ++id;
  }
  for (const std::string& b : bytes) vocab[b] = id++;
  // As in published tokenizers, the rest of the embedding has names: no id of the tiny models is without a token.
  for (int i = 0; id < kTinyIds; ++i) {
    const std::string name = "<reserved_" + std::to_string(i) + ">";
    added.push_back({{"id", id},
                     {"content", name},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
    vocab[name] = id++;
  }
  const Json split = {{"type", "Split"}, {"pattern", {{"Regex", " ?\\S+"}}}, {"behavior", "Isolated"}, {"invert", false}};
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const Json root = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level})}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", true},
        {"vocab", vocab},
        {"merges", Json::array()}}}};
  return root.dump(1) + "\n";
}

}  // namespace r1
