// Writing models: as a Hugging Face directory that transformers loads as it stands, or as a GGUF file that llama.cpp runs.
// Tensors pass through in pieces of a few MiB, from weights in memory or from a stored model, so that no model need fit the
// memory twice.
//
// Not a choice of what a run keeps (actors/ does that).
// Thread rule: one thread a call.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/model_files.h"
#include "models/weights.h"

namespace r1 {

// The published tensors of a model, wherever they are.
struct TensorSource {
  struct Item {
    std::string name;
    std::vector<int64_t> shape;
    bool keep_f32 = false;  // whatever the type of the others (selection biases)
  };
  std::vector<Item> items;
  // Rows [begin, end) of one of them as f32.
  std::function<void(const std::string& name, int64_t begin, int64_t end, float* out)> read;
};
TensorSource tensor_source(const WeightSet&);    // which outlives it
TensorSource tensor_source(const StoredModel&);  // likewise; checked as by check_tensors()

enum class FileType { f32, f16, bf16, q8_0 };
const char* file_type_name(FileType);  // "f32", ...
std::optional<FileType> file_type(const std::string& name);

// File name -> content: what stands beside config.json and the weights.
using ModelTexts = std::map<std::string, std::string>;

// What a model's own files say, made so that transformers (4 and 5) uses tokenizer.json as it stands: tokenizer.json, chat
// template, generation_config.json, and tokenizer_config.json whose class is PreTrainedTokenizerFast. `given` are the files of
// the model that this one came from (any may be missing); special tokens and end tokens come from `config` where they say
// nothing. Throws bad_input, naming `place`, for JSON that is none.
ModelTexts export_texts(const ModelTexts& given, const ModelConfig& config, const std::string& place);
ModelTexts stored_texts(const std::filesystem::path& model);  // those of a stored model, as they are

struct DirectoryOptions {
  FileType type = FileType::f32;                 // f32, f16, bf16
  uint64_t max_shard_bytes = 5'000'000'000;      // more: shards and an index
  std::function<void(uint64_t bytes)> progress;  // of the file written; may be empty
};
// Atomically: DIR.tmp, then renamed. Throws failure when the disk refuses, bad_input for a value that is not finite in that
// type.
void write_model_dir(const std::filesystem::path& dir, const ModelConfig&, const TensorSource&, const ModelTexts&,
                     const DirectoryOptions&);

struct GgufOptions {
  FileType type = FileType::bf16;  // of matrices; vectors are f32, as are matrices whose rows no block fits (f16 for q8_0)
  std::string name;                // general.name
  std::string pre_tokenizer;       // llama.cpp's name; empty: found by what tokenizer.json does
  std::function<void(uint64_t bytes)> progress;
};
// Atomically (temporary beside it, then renamed). llama, qwen2 and qwen3; throws bad_input for another architecture, a reward
// model, a tokenizer that llama.cpp has no name for.
void write_gguf(const std::filesystem::path& file, const ModelConfig&, const TensorSource&, const ModelTexts&,
                const GgufOptions&);

}  // namespace r1
