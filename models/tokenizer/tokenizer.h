// A tokenizer read from a Hugging Face tokenizer.json: byte-level BPE with the parts that the Llama-3, Qwen2/2.5/3 and
// DeepSeek-V3/R1 families (and the built-in tiny world) use. Not SentencePiece, WordPiece or Unigram: such files are refused.
// It gives the same ids as huggingface/tokenizers (tests/models/tokenizer/golden); bytes that have no token are dropped, as there.
//
// Understood: normalizer null, NFC, NFD, NFKC, NFKD, Sequence; pre_tokenizer Split (every behavior), Digits, ByteLevel (last),
// Sequence; model BPE; post_processor null, ByteLevel, TemplateProcessing, Sequence; decoder ByteLevel (also in a Sequence,
// with Fuse). `truncation` and `padding` are ignored: callers decide about lengths.
//
// Thread rule: immutable after construction; any thread may call. Cheap to copy (a shared pointer).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

class Tokenizer {
 public:
  // Throws bad_input naming the file, what was expected and, where JSON itself is broken, line and column.
  static Tokenizer from_json(std::string_view json, const std::string& name_for_errors);
  static Tokenizer from_file(const std::filesystem::path& path);

  // Malformed UTF-8 in `text` is read as U+FFFD. `add_special_tokens` runs the post-processor (for Llama-3: prepends BOS);
  // pass false for text from a chat template, which already holds them.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = true) const;

  // Always valid UTF-8: malformed bytes (a character cut in two by sampling) become U+FFFD. Ids without a token give nothing.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;
  // The same before the malformed bytes are replaced: for streaming, where the rest of a character comes later.
  std::string decode_bytes(std::span<const int32_t> ids, bool skip_special = false) const;

  // Looks among the added tokens and the vocabulary; `token` as it is written in tokenizer.json ("<bos>", "Ġplus").
  std::optional<int32_t> id_of(std::string_view token) const;
  // The token as written in tokenizer.json; nullopt for an id without one.
  std::optional<std::string> token_of(int32_t id) const;
  bool is_special(int32_t id) const;

  // Largest id + 1. A model may have more embedding rows (padding), never fewer.
  int32_t vocab_size() const;

  // The text it was read from: checkpoints carry it on.
  const std::string& json() const;

  struct Impl;  // defined in tokenizer_impl.h, for the parser

 private:
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace r1
