// A tokenizer.json for tests, as a JSON value to tamper with: 256 byte tokens, a few merges, one added token.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "models/tokenizer/utf8.h"

namespace r1 {

// Byte b has id b; merged tokens follow.
inline nlohmann::json small_tokenizer(const std::string& pattern = R"( ?\S+)") {
  nlohmann::json vocab;
  for (int b = 0; b < 256; ++b) vocab[utf8::byte_alphabet().text_of[static_cast<size_t>(b)]] = b;
  int id = 256;
  for (const char* token : {"ab", "bc", "abc", "cd",
                            "\xC4\xA0"
                            "a"})
    vocab[token] = id++;
  return {{"version", "1.0"},
          {"added_tokens",
           {{{"id", 300},
             {"content", "<x>"},
             {"single_word", false},
             {"lstrip", false},
             {"rstrip", false},
             {"normalized", false},
             {"special", true}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
              {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"b c", "a b", "a bc", "\xC4\xA0 a", "c d"}}}}};
}

}  // namespace r1
