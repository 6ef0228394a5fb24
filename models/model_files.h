// A model as it is stored: a Hugging Face directory (config.json, tokenizer.json, safetensors, ...), a GGUF file, or a
// directory whose only GGUF file is the model. All three are looked at as the first: the texts a GGUF file has no files for are
// made of its metadata, its tensors have their published names and order of rows. So whatever reads models reads each kind.
//
// Not the parameters in memory (models/weights.h) and no arithmetic.
// Thread rule: a StoredModel is immutable after construction, any thread may read it; functions are pure but for reading files.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "models/gguf.h"
#include "models/model_config.h"
#include "models/tokenizer/tokenizer.h"

namespace r1 {

// The GGUF file that `model` is; nullopt: a Hugging Face directory (or nothing). Throws bad_input for a directory without a
// config.json that holds several.
std::optional<std::filesystem::path> gguf_of(const std::filesystem::path& model);

// A text file of a Hugging Face directory: "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
// "chat_template.jinja". nullopt: this model has none. Throws bad_input when it is too long, or a GGUF file says it in a way
// that r1 does not know.
std::optional<std::string> model_text(const std::filesystem::path& model, std::string_view name);
// Where that text stands, for errors: DIR/NAME, or the GGUF file.
Where model_text_place(const std::filesystem::path& model, std::string_view name);

// Whether the files hold no tensor of layer `layer`, where a multi-token prediction module would be. Headers alone are read;
// false where there are no weights.
bool lacks_mtp_module(const std::filesystem::path& model, int64_t layer);

// tokenizer.json of the model. Throws bad_input.
Tokenizer model_tokenizer(const std::filesystem::path& model);
// Throws bad_input where the tokenizer has ids that the model has no row for. `whose`: "the tokenizer of 'base'".
void check_tokenizer_fits(const Tokenizer&, const ModelConfig&, const std::string& whose, const Where&);

// Values of a row: of all dimensions but the first.
int64_t row_size(const std::vector<int64_t>& shape);

// A tensor of a stored model, under its published name.
struct StoredTensor {
  std::string name;
  std::string type;                       // "F32", "BF16", "Q4_1", ...
  std::vector<int64_t> shape;             // as published
  std::optional<GgufTensorType> decoder;  // how to read it as f32; nullopt: not a type that weights have
  std::shared_ptr<const FileReader> file;
  uint64_t offset = 0, bytes = 0;  // in the file
  int64_t interleaved_head = 0;    // models/gguf_model.h

  const std::filesystem::path& path() const { return file->path(); }
  int64_t row_size() const { return r1::row_size(shape); }
  // Rows [begin, end) as f32, in published order, read in pieces of at most a few MiB. Values are as in the file: not all
  // finite.
  void read(int64_t begin, int64_t end, float* out) const;
};

// The tensors of a model, of one file or of shards; headers alone are read.
class StoredModel {
 public:
  // Throws bad_input naming file and tensor.
  explicit StoredModel(const std::filesystem::path& model);
  const ModelConfig& config() const { return config_; }
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  const StoredTensor& at(const std::string& name) const;       // CHECK: there
  const std::string& main_file() const { return main_file_; }  // for errors about tensors that are nowhere
  uint64_t bytes() const;                                      // of all tensors

 private:
  void add(StoredTensor);
  void add_safetensors(const std::filesystem::path& file);
  void add_shards(const std::filesystem::path& dir, const std::filesystem::path& index);
  void add_gguf(const std::filesystem::path& file);

  ModelConfig config_;
  std::map<std::string, StoredTensor> tensors_;
  std::string main_file_;
};

}  // namespace r1
