// Hugging Face model directories: reading, checking, writing (models/weights.h).
#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/stop.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "models/finite.h"
#include "models/safetensors.h"
#include "models/weights.h"

namespace r1 {

namespace fs = std::filesystem;

namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
// A tenth of a second of one core.
constexpr size_t kCheckedBytes = size_t{1} << 30;
constexpr const char* kHeadName = "lm_head.weight";
constexpr const char* kEmbeddingName = "model.embed_tokens.weight";

// All tensors of a directory, from one file or from shards.
struct ModelFiles {
  struct Found {
    SafetensorsEntry entry;
    std::string file;
  };
  std::vector<std::unique_ptr<SafetensorsFile>> files;
  std::map<std::string, Found> tensors;
  std::string main_file;  // for errors about tensors that are nowhere
};

void add_file(ModelFiles& model, const fs::path& path) {
  model.files.push_back(std::make_unique<SafetensorsFile>(path));
  for (const SafetensorsEntry& e : model.files.back()->entries()) {
    const auto [it, fresh] = model.tensors.emplace(e.name, ModelFiles::Found{e, path.string()});
    if (!fresh) throw bad_input(fmt::format("tensor '{}' is also in {}", e.name, it->second.file), {path.string()});
  }
}

void add_shards(ModelFiles& model, const fs::path& dir, const fs::path& index_path) {
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
  for (const std::string& name : names) add_file(model, dir / name);
  for (const auto& [tensor, file] : file_of) {
    const auto it = model.tensors.find(tensor);
    if (it == model.tensors.end())
      throw bad_input(fmt::format("tensor '{}' is in the index but not in {}", tensor, file), where);
    if (fs::path(it->second.file).filename() != file)
      throw bad_input(
          fmt::format("tensor '{}' is in {}, the index says {}", tensor, fs::path(it->second.file).filename().string(), file),
          where);
  }
  for (const auto& [tensor, found] : model.tensors)
    if (file_of.count(tensor) == 0) throw bad_input(fmt::format("tensor '{}' is not in the index", tensor), {found.file});
}

ModelFiles open_model(const fs::path& dir) {
  ModelFiles model;
  if (!fs::is_directory(dir)) throw bad_input("no such model directory", {dir.string()});
  const fs::path single = dir / kSingleFile, index = dir / kIndexFile;
  if (fs::exists(single)) {
    model.main_file = single.string();
    add_file(model, single);
  } else if (fs::exists(index)) {
    model.main_file = index.string();
    add_shards(model, dir, index);
  } else {
    throw bad_input(fmt::format("the model directory has neither {} nor {}", kSingleFile, kIndexFile), {dir.string()},
                    "a Hugging Face model directory with safetensors weights is expected");
  }
  return model;
}

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

std::vector<int64_t> part_shape(const ParamSpec& spec, const ParamPart& part) {
  std::vector<int64_t> shape = spec.shape;
  shape[0] = part.rows;
  return shape;
}

// The MTP module of a published checkpoint repeats the embedding and the head of the model, under names of its layer. Pairs of
// (name of the copy, name of the original).
std::vector<std::pair<std::string, std::string>> mtp_copies(const ModelConfig& config) {
  if (!config.has_mtp()) return {};
  const std::string p = fmt::format("model.layers.{}.", config.layers);
  return {{p + "embed_tokens.weight", kEmbeddingName},
          {p + "shared_head.head.weight", config.tied_head ? kEmbeddingName : kHeadName}};
}

// Buffers that older checkpoints carry and no architecture here reads.
bool ignorable(const std::string& name) {
  const std::string_view suffix = ".rotary_emb.inv_freq";
  return name.size() > suffix.size() && name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
}

// Presence, type and shape of every tensor: everything that headers tell.
void check_tensors(const ModelFiles& model, const ModelConfig& config, const std::vector<ParamSpec>& specs) {
  std::vector<std::string> known;
  for (const ParamSpec& spec : specs) {
    for (const ParamPart& part : spec.parts) {
      known.push_back(part.name);
      const auto it = model.tensors.find(part.name);
      if (it == model.tensors.end())
        throw bad_input(fmt::format("tensor '{}' is missing", part.name), {model.main_file},
                        part.name == kHeadName ? "if the head is the embedding, config.json needs \"tie_word_embeddings\": true"
                        : spec.mtp             ? "a checkpoint without the MTP module needs \"num_nextn_predict_layers\": 0"
                                               : "config.json says that the model has it");
      const SafetensorsEntry& e = it->second.entry;
      const auto expected = part_shape(spec, part);
      if (e.shape != expected)
        throw bad_input(
            fmt::format("tensor '{}' has shape {}, config.json needs {}", part.name, shape_text(e.shape), shape_text(expected)),
            {it->second.file});
      if (e.dtype != "F32" && e.dtype != "BF16" && e.dtype != "F16")
        throw bad_input(fmt::format("tensor '{}' is {}, expected F32, BF16 or F16", part.name, e.dtype), {it->second.file},
                        "convert the checkpoint to BF16 first");
    }
  }
  std::set<std::string> names(known.begin(), known.end());
  for (const auto& [copy, original] : mtp_copies(config)) {
    const auto found = model.tensors.find(copy);
    if (found == model.tensors.end()) continue;
    const auto& expected = model.tensors.at(original).entry.shape;
    if (found->second.entry.shape != expected)
      throw bad_input(fmt::format("tensor '{}' has shape {}, '{}' has {}", copy, shape_text(found->second.entry.shape),
                                  original, shape_text(expected)),
                      {found->second.file}, "the MTP module shares the model's embedding and head");
    names.insert(copy);
  }
  for (const auto& [name, found] : model.tensors) {
    if (names.count(name) != 0 || ignorable(name)) continue;
    if (name == kHeadName && config.tied_head && !config.scalar_head) continue;  // compared with the embedding when loading
    const std::string near = nearest(name, known);
    throw bad_input(fmt::format("unexpected tensor '{}'", name), {found.file},
                    near.empty() ? "config.json describes a model without it" : fmt::format("the model has '{}'", near));
  }
}

float f32_from_f16(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t exponent = (h >> 10) & 31u, fraction = h & 0x3FFu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;  // subnormal or zero: exact in f32
  return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
}

template <class T>
T load(const void* data, size_t i) {  // tensors lie unaligned in a file
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + i * sizeof(T), sizeof(T));
  return value;
}

// target: a contiguous view of f32 or bf16. Returns the first value that is not a finite number there, in words, or "".
std::string upload_converted(const View& target, const SafetensorsEntry& e) {
  const size_t n = static_cast<size_t>(target.size());
  const bool to_f32 = target.dtype == DType::f32;
  R1_CHECK(to_f32 || target.dtype == DType::bf16, target.str());
  const char* type = to_f32 ? "F32" : "BF16";
  const auto not_finite = [&](const void* data) -> std::string {
    const int64_t bad = first_not_finite(data, static_cast<int64_t>(n), type);
    if (bad < 0) return {};
    const auto* value = static_cast<const std::byte*>(data) + static_cast<size_t>(bad) * dtype_size(target.dtype);
    return not_finite_text(e.name, e.shape, bad, value, type);
  };
  if (e.dtype == type) {
    upload(target, e.data, e.bytes);
    return not_finite(e.data);
  }
  const auto value = [&](size_t i) {
    if (e.dtype == "F32") return load<float>(e.data, i);
    if (e.dtype == "BF16") return f32_from_bf16(load<uint16_t>(e.data, i));
    return f32_from_f16(load<uint16_t>(e.data, i));
  };
  if (to_f32) {
    std::vector<float> host(n);
    for (size_t i = 0; i < n; ++i) host[i] = value(i);
    upload(target, host);
    return not_finite(host.data());
  } else {
    std::vector<uint16_t> host(n);
    for (size_t i = 0; i < n; ++i) host[i] = bf16_from_f32(value(i));
    upload(target, host);
    return not_finite(host.data());
  }
}

[[noreturn]] void refuse_value(const std::string& text, const std::string& file) {
  throw bad_input(text, {file}, "the training that wrote this checkpoint diverged, or the file was damaged");
}

// Every value of a model small enough to be read while the user waits.
void check_values(const ModelFiles& model) {
  size_t bytes = 0;
  std::vector<const ModelFiles::Found*> all;
  for (const auto& [name, found] : model.tensors) bytes += found.entry.bytes, all.push_back(&found);
  if (bytes > kCheckedBytes) return;
  std::vector<std::string> bad(all.size());
  parallel_tasks(static_cast<int64_t>(all.size()), [&](int64_t i) {
    const SafetensorsEntry& e = all[static_cast<size_t>(i)]->entry;
    const int width = safetensors_dtype_bits(e.dtype) / 8;
    if (width == 0) return;
    const int64_t at = first_not_finite(e.data, static_cast<int64_t>(e.bytes) / width, e.dtype);
    if (at < 0) return;
    const auto* value = static_cast<const std::byte*>(e.data) + at * width;
    bad[static_cast<size_t>(i)] = not_finite_text(e.name, e.shape, at, value, e.dtype);
  });
  for (size_t i = 0; i < bad.size(); ++i)
    if (!bad[i].empty()) refuse_value(bad[i], all[i]->file);
}

// A tied model whose file carries a head all the same: fine if it is the embedding, a different model if not.
void check_redundant_head(const ModelFiles& model, const ModelConfig& config) {
  const auto head = model.tensors.find(kHeadName);
  if (head == model.tensors.end() || !config.tied_head || config.scalar_head) return;
  const SafetensorsEntry& e = model.tensors.at(kEmbeddingName).entry;
  const SafetensorsEntry& h = head->second.entry;
  if (h.dtype != e.dtype || h.shape != e.shape || std::memcmp(h.data, e.data, e.bytes) != 0)
    throw bad_input(fmt::format("tensor '{}' differs from '{}' but config.json ties them", kHeadName, kEmbeddingName),
                    {head->second.file}, "set \"tie_word_embeddings\": false in config.json if the head is separate");
}

void put_in_place(const fs::path& temporary, const fs::path& dir) {
  const auto refuse = [&](int error) {
    throw failure(fmt::format("cannot rename into place: {}", std::strerror(error)), {dir.string()});
  };
  if (!fs::exists(dir)) {
    if (::rename(temporary.c_str(), dir.c_str()) != 0) refuse(errno);
  } else if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, dir.c_str(), RENAME_EXCHANGE) == 0) {
    fs::remove_all(temporary);
  } else {
    // Not every file system exchanges. The old directory is complete under its second name until the new one is in place.
    const fs::path old = dir.string() + ".old";
    fs::remove_all(old);
    if (::rename(dir.c_str(), old.c_str()) != 0) refuse(errno);
    if (::rename(temporary.c_str(), dir.c_str()) != 0) refuse(errno);
    fs::remove_all(old);
  }
  fsync_directory(dir.has_parent_path() ? dir.parent_path() : fs::path("."));
}

}  // namespace

void check_model_dir(const fs::path& model_dir) {
  const ModelFiles model = open_model(model_dir);
  const ModelConfig config = read_model_config(model_dir);
  check_tensors(model, config, param_specs(config));
  check_values(model);
}

std::shared_ptr<WeightSet> load_weights(Device& device, const fs::path& model_dir, DType dtype) {
  const ModelFiles model = open_model(model_dir);
  const ModelConfig config = read_model_config(model_dir);
  auto weights = std::make_shared<WeightSet>(device, config, dtype);
  check_tensors(model, config, weights->specs());
  check_redundant_head(model, config);
  struct Job {
    View target;
    const ModelFiles::Found* found;
    std::string bad;
  };
  std::vector<Job> jobs;
  for (size_t i = 0; i < weights->specs().size(); ++i)
    for (const ParamPart& part : weights->specs()[i].parts)
      jobs.push_back({weights->param(i).slice(part.row_begin, part.row_begin + part.rows), &model.tensors.at(part.name), {}});
  parallel_tasks(static_cast<int64_t>(jobs.size()), [&, stop = current_stop()](int64_t j) {
    const StopScope scope(stop);
    check_stop();
    Job& job = jobs[static_cast<size_t>(j)];
    job.bad = upload_converted(job.target, job.found->entry);
  });
  for (const Job& job : jobs)
    if (!job.bad.empty()) refuse_value(job.bad, job.found->file);
  return weights;
}

void save_model_dir(const fs::path& given, const WeightSet& weights, const std::string& tokenizer_json) {
  const fs::path dir = given.has_filename() ? given : given.parent_path();  // "a/b/" names a/b
  const fs::path temporary = dir.string() + ".tmp";
  const bool f32 = weights.dtype() == DType::f32;
  R1_CHECK(f32 || weights.dtype() == DType::bf16, dtype_name(weights.dtype()));
  std::error_code error;
  fs::remove_all(temporary, error);
  if (!error) fs::create_directories(temporary, error);
  if (error) throw failure("cannot create directory: " + error.message(), {temporary.string()});

  std::vector<SafetensorsEntry> entries;
  std::map<std::string, View> part_of;
  for (size_t i = 0; i < weights.specs().size(); ++i) {
    const ParamSpec& spec = weights.specs()[i];
    for (const ParamPart& part : spec.parts) {
      const char* dtype = weights.param(i).dtype == DType::f32 ? "F32" : "BF16";
      entries.push_back({.name = part.name, .dtype = dtype, .shape = part_shape(spec, part)});
      part_of[part.name] = weights.param(i).slice(part.row_begin, part.row_begin + part.rows);
    }
  }
  for (const auto& [copy, original] : mtp_copies(weights.config())) {
    const View& v = part_of.at(original);
    entries.push_back({.name = copy, .dtype = f32 ? "F32" : "BF16", .shape = {v.shape[0], v.shape[1]}});
    part_of[copy] = v;
  }
  SafetensorsWriter writer(temporary / kSingleFile, std::move(entries), {{"format", "pt"}});
  std::vector<std::byte> host;
  for (const SafetensorsEntry& e : writer.order()) {
    check_stop();
    host.resize(e.bytes);
    download(part_of.at(e.name), host.data(), host.size());
    writer.append(host.data(), host.size());
  }
  writer.finish();
  write_file_atomically(temporary / "config.json", model_config_json(weights.config(), f32 ? "float32" : "bfloat16"));
  if (!tokenizer_json.empty()) write_file_atomically(temporary / "tokenizer.json", tokenizer_json);
  fsync_directory(temporary);
  put_in_place(temporary, dir);
}

}  // namespace r1
