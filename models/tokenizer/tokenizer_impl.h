// What a parsed tokenizer.json is made of. Private to models/tokenizer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/tokenizer/added_tokens.h"
#include "models/tokenizer/bpe.h"
#include "models/tokenizer/pre_tokenizer.h"
#include "models/tokenizer/tokenizer.h"

namespace r1 {

enum class NormalForm { nfc, nfd, nfkc, nfkd };

struct Tokenizer::Impl {
  std::string json;
  std::vector<NormalForm> normalizer;
  AddedTokenMatcher raw_tokens;         // added tokens with normalized=false: cut out of the text as it is
  AddedTokenMatcher normalized_tokens;  // ... with normalized=true
  std::vector<PreTokenStep> pre_tokenizer;
  Bpe bpe;
  std::vector<int32_t> prefix, suffix;  // of the post-processor
  std::vector<std::string> tokens;      // id -> token text; "" where there is none
  std::vector<bool> special;            // by id
  TokenMap added_ids;

  std::string normalize(std::string_view text) const;
};

constexpr size_t kMaxTokenizerBytes = size_t{1} << 28;  // published files: up to 40 MB

// Throws bad_input as Tokenizer::from_json does.
std::shared_ptr<const Tokenizer::Impl> parse_tokenizer_json(std::string_view json, const std::string& file);

}  // namespace r1
