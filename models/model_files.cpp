#include "models/model_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/clipped.h"
#include "base/json.h"
#include "models/gguf_model.h"
#include "models/safetensors.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr size_t kMaxTextBytes = size_t{1} << 28;  // of the longest, tokenizer.json
constexpr uint64_t kPieceBytes = uint64_t{1} << 21;

std::optional<GgufTensorType> decoder_of(const std::string& dtype) {
  if (dtype == "F32") return GgufTensorType::f32;
  if (dtype == "F16") return GgufTensorType::f16;
  if (dtype == "BF16") return GgufTensorType::bf16;
  return std::nullopt;
}

}  // namespace

std::optional<fs::path> gguf_of(const fs::path& model) {
  std::error_code none;
  if (!fs::is_directory(model, none)) {
    if (model.extension() == ".gguf" || has_gguf_magic(model)) return model;
    return std::nullopt;
  }
  if (fs::exists(model / "config.json", none)) return std::nullopt;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(model, none))
    if (entry.path().extension() == ".gguf") found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  if (found.size() > 1)
    throw bad_input(fmt::format("the directory holds {} GGUF files and no config.json", found.size()), {model.string()},
                    fmt::format("name the file: path=\"{}\"", found[0].string()));
  return found.empty() ? std::nullopt : std::optional<fs::path>(found[0]);
}

std::optional<std::string> model_text(const fs::path& model, std::string_view name) {
  if (const auto gguf = gguf_of(model)) {
    if (name == "config.json") return gguf_config_json(GgufFile(*gguf));
    if (name == "tokenizer.json") return gguf_tokenizer_json(GgufFile(*gguf));
    if (name == "tokenizer_config.json") return gguf_tokenizer_config_json(GgufFile(*gguf));
    return std::nullopt;
  }
  const fs::path file = model / name;
  std::error_code none;
  if (!fs::exists(file, none)) return std::nullopt;
  return read_small_file(file, kMaxTextBytes);
}

Where model_text_place(const fs::path& model, std::string_view name) {
  if (const auto gguf = gguf_of(model)) return {gguf->string()};
  return {(model / name).string()};
}

bool lacks_mtp_module(const fs::path& model, int64_t layer) {
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  const auto has = [&](const std::string& name) { return name.starts_with(prefix); };
  if (const fs::path index = model / kIndexFile; !fs::exists(model / kSingleFile) && fs::exists(index)) {
    const nlohmann::json json = read_json_file(index, {.hint = "an index of shards is expected"});
    if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) return false;
    for (const auto& [name, file] : json["weight_map"].items())
      if (has(name)) return false;
    return true;
  }
  if (!fs::exists(model / kSingleFile)) return false;
  for (const SafetensorsEntry& e : read_safetensors_header(FileReader(model / kSingleFile)).entries)
    if (has(e.name)) return false;
  return true;
}

Tokenizer model_tokenizer(const fs::path& model) {
  const auto text = model_text(model, "tokenizer.json");
  const std::string place = model_text_place(model, "tokenizer.json").file;
  if (!text) throw bad_input("no such file", {place}, "expected a Hugging Face tokenizer.json");
  return Tokenizer::from_json(*text, place);
}

void check_tokenizer_fits(const Tokenizer& tokenizer, const ModelConfig& config, const std::string& whose, const Where& where) {
  if (tokenizer.vocab_size() > config.vocab_size)
    throw bad_input(fmt::format("{} has {} ids, the model only {}", whose, tokenizer.vocab_size(), config.vocab_size), where,
                    "vocab_size in config.json must cover the tokenizer");
}

int64_t row_size(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (size_t i = 1; i < shape.size(); ++i) n *= shape[i];
  return n;
}

void StoredTensor::read(int64_t begin, int64_t end, float* out) const {
  R1_CHECK(decoder.has_value() && !shape.empty() && 0 <= begin && end <= shape[0], name);
  const GgufBlock& block = *gguf_block(static_cast<uint32_t>(*decoder));
  const int64_t values = row_size();
  R1_CHECK(values % block.values == 0, name);
  const uint64_t row_bytes = static_cast<uint64_t>(values) / block.values * block.bytes;
  const int64_t most = interleaved_head > 0 ? 1 : std::max<int64_t>(1, static_cast<int64_t>(kPieceBytes / row_bytes));
  std::vector<std::byte> piece;
  for (int64_t row = begin; row < end;) {
    const int64_t n = std::min(most, end - row);
    const int64_t from = interleaved_head > 0 ? gguf_row(row, interleaved_head) : row;
    piece.resize(static_cast<size_t>(static_cast<uint64_t>(n) * row_bytes));
    file->read(offset + static_cast<uint64_t>(from) * row_bytes, piece.data(), piece.size());
    gguf_dequantize(*decoder, piece.data(), n * values, out);
    out += n * values;
    row += n;
  }
}

StoredModel::StoredModel(const fs::path& model) {
  const auto gguf = gguf_of(model);
  if (!gguf && !fs::is_directory(model)) throw bad_input("no such model directory", {model.string()});
  const fs::path single = model / kSingleFile, index = model / kIndexFile;
  if (gguf) {
    main_file_ = gguf->string();
    config_ = read_model_config(model);
    add_gguf(*gguf);
  } else if (fs::exists(single)) {
    main_file_ = single.string();
    add_safetensors(single);
    config_ = read_model_config(model);
  } else if (fs::exists(index)) {
    main_file_ = index.string();
    add_shards(model, index);
    config_ = read_model_config(model);
  } else {
    throw bad_input(fmt::format("the model directory has neither {} nor {}", kSingleFile, kIndexFile), {model.string()},
                    "a Hugging Face model directory with safetensors weights, or a GGUF file, is expected");
  }
}

const StoredTensor& StoredModel::at(const std::string& name) const {
  const auto it = tensors_.find(name);
  R1_CHECK(it != tensors_.end(), name);
  return it->second;
}

uint64_t StoredModel::bytes() const {
  uint64_t sum = 0;
  for (const auto& [name, t] : tensors_) sum += t.bytes;
  return sum;
}

void StoredModel::add(StoredTensor tensor) {
  const std::string name = tensor.name, path = tensor.path().string();
  const auto [it, fresh] = tensors_.emplace(name, std::move(tensor));
  if (!fresh) throw bad_input(fmt::format("tensor '{}' is also in {}", name, it->second.path().string()), {path});
}

void StoredModel::add_safetensors(const fs::path& path) {
  const auto file = std::make_shared<FileReader>(path);
  for (const SafetensorsEntry& e : read_safetensors_header(*file).entries)
    add({e.name, e.dtype, e.shape, decoder_of(e.dtype), file, e.offset, e.bytes});
}

void StoredModel::add_shards(const fs::path& dir, const fs::path& index_path) {
  const Where where{index_path.string()};
  const nlohmann::json index = read_json_file(index_path, {.hint = "an index of shards is expected"});
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    throw bad_input("the index of shards has no 'weight_map' object", where);
  std::map<std::string, std::string> file_of;
  std::set<std::string> names;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string()) throw bad_input(fmt::format("weight_map of '{}' is not a file name", tensor), where);
    const std::string name = file.get<std::string>();
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
        name.find('\\') != std::string::npos || name.find('\0') != std::string::npos)
      throw bad_input(fmt::format("weight_map of '{}' names '{}', expected a bare file name", tensor, name), where);
    file_of[tensor] = name;
    names.insert(name);
  }
  for (const std::string& name : names) add_safetensors(dir / name);
  for (const auto& [tensor, file] : file_of) {
    const auto it = tensors_.find(tensor);
    if (it == tensors_.end()) throw bad_input(fmt::format("tensor '{}' is in the index but not in {}", tensor, file), where);
    if (it->second.path().filename() != file)
      throw bad_input(
          fmt::format("tensor '{}' is in {}, the index says {}", tensor, it->second.path().filename().string(), file), where);
  }
  for (const auto& [name, tensor] : tensors_)
    if (file_of.count(name) == 0)
      throw bad_input(fmt::format("tensor '{}' is not in the index", name), {tensor.path().string()});
}

void StoredModel::add_gguf(const fs::path& path) {
  const GgufFile file(path);
  for (const GgufTensor& t : file.tensors()) {
    if (t.name == kRopeFactorsName) continue;  // the configuration says it
    std::string name = published_name(t.name);
    if (name.empty()) name = t.name;
    StoredTensor tensor{name,   gguf_block(static_cast<uint32_t>(t.type))->name, t.shape, t.type, file.shared_file(), t.offset,
                        t.bytes};
    tensor.interleaved_head = interleaved_head(config_, name);
    if (tensor.interleaved_head > 0 && t.shape[0] % tensor.interleaved_head != 0)
      throw bad_input(fmt::format("tensor '{}' has {} rows, no multiple of the {} of a head", clipped(t.name), t.shape[0],
                                  tensor.interleaved_head),
                      {path.string()});
    if (t.shape.size() == 1 && gguf_block(static_cast<uint32_t>(t.type))->values > 1)
      throw bad_input(fmt::format("tensor '{}' is a quantised vector, expected F32, F16 or BF16", clipped(t.name)),
                      {path.string()});
    add(std::move(tensor));
  }
}

}  // namespace r1
