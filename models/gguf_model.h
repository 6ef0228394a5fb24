// What a GGUF file says in the words of a Hugging Face directory: its metadata as config.json, tokenizer.json and
// tokenizer_config.json, its tensors under their published names. And the other way round, for files that r1 writes.
// One reader (models/model_config.h, models/tokenizer) judges both kinds of model.
//
// llama, qwen2 and qwen3 alone; byte-level BPE whose pre-tokenizer has a name in the table below.
// Thread rule: pure functions but for reading the file.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "models/gguf.h"
#include "models/model_config.h"

namespace r1 {

// Texts as in a Hugging Face directory. Throw bad_input naming the file and the key that is missing, of another type, or not
// supported.
std::string gguf_config_json(const GgufFile&);
std::string gguf_tokenizer_json(const GgufFile&);
std::string gguf_tokenizer_config_json(const GgufFile&);  // special tokens, chat template

// "blk.3.attn_q.weight" <-> "model.layers.3.self_attn.q_proj.weight"; "" where the other side has none.
std::string published_name(std::string_view gguf_name);
std::string gguf_name(std::string_view published_name);
// Factors of the rotary frequencies that llama3 scaling makes a tensor of, not part of any Hugging Face directory.
constexpr const char* kRopeFactorsName = "rope_freqs.weight";
std::vector<float> llama3_rope_factors(const ModelConfig&);  // [head_dim / 2]; the model has that scaling

// GGUF files of llama hold the rows of q and k in another order: of each head of `head` rows, first and second half
// interleaved, because llama.cpp rotates neighbours. 0: this tensor's rows stand as published. Row r of the published tensor is
// row gguf_row(r, head) of the file's. Source: LlamaModel.permute of convert_hf_to_gguf.py.
int64_t interleaved_head(const ModelConfig&, std::string_view published_name);
inline int64_t gguf_row(int64_t row, int64_t head) {
  const int64_t in_head = row % head, half = head / 2;
  return row - in_head + in_head % half * 2 + in_head / half;
}

// What "tokenizer.ggml.token_type" says of each token. Source: llama_token_type of llama.h.
enum GgufTokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

// How a text is cut before BPE, under llama.cpp's name.
struct GgufPreTokenizer {
  std::vector<std::string> names;                            // the first is written
  std::vector<std::string> splits;                           // patterns, each isolated, one inside the pieces of the other
  bool digits = false;                                       // every digit by itself
  bool gpt2 = false;                                         // GPT-2's own pattern last
  bool nfc = false, ignore_merges = false, add_bos = false;  // add_bos: unless the file says otherwise
};
const std::vector<GgufPreTokenizer>& gguf_pre_tokenizers();
// The one that `tokenizer` (a parsed tokenizer.json) uses; null: llama.cpp has no name for it that r1 knows.
const GgufPreTokenizer* find_pre_tokenizer(const nlohmann::json& tokenizer);

}  // namespace r1
