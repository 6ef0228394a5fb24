// The tokenizer of the tiny world, as the text of a Hugging Face tokenizer.json.
// Ids: 0..8 the specials (added tokens; <think>, </think>, <answer>, </answer> are not `special`, so decoding keeps
// them), 9..136 the words with their leading space, 137..392 the 256 single bytes, so that any text can be encoded. There are
// no merges: a word with its leading space is one token (ignore_merges), anything else falls into bytes.
// Thread rule: pure function.
#pragma once

#include <string>

namespace r1 {

std::string tiny_tokenizer_json();

}  // namespace r1
