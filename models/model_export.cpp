#include "models/model_export.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/directories.h"
#include "base/error.h"
#include "base/files.h"
#include "base/stop.h"
#include "models/finite.h"
#include "models/float16.h"
#include "models/param_layout.h"
#include "models/safetensors.h"
#include "models/weight_files.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNames[] = {"f32", "f16", "bf16", "q8_0"};

const char* dtype_of(FileType type) { return type == FileType::f32 ? "F32" : type == FileType::f16 ? "F16" : "BF16"; }

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

// What was written so far goes when it cannot be finished.
struct Unfinished {
  fs::path dir;
  bool done = false;
  ~Unfinished() {
    std::error_code ignored;
    if (!done) fs::remove_all(dir, ignored);
  }
};

// Value `at` of a tensor, as it is to be written and as it is in f32.
[[noreturn]] void refuse_value(const SafetensorsEntry& e, int64_t at, const void* value, float as_f32, const fs::path& file) {
  const std::string text = not_finite_text(e.name, e.shape, at, value, e.dtype);
  if (!std::isfinite(as_f32))
    throw bad_input(text, {file.string()}, "the training that made these weights diverged, or their file was damaged");
  throw bad_input(fmt::format("{} ({} as f32)", text, as_f32), {file.string()},
                  e.dtype == "F16" ? "beyond 65,504 nothing is a number in f16: bf16 has room" : "f32 has room");
}

// One tensor into the writer, piece by piece.
void write_tensor(SafetensorsWriter& writer, const SafetensorsEntry& e, const TensorSource& source, const fs::path& file,
                  const std::function<void(uint64_t)>& progress) {
  const int64_t rows = e.shape[0], size = row_size(e.shape),
                most = std::max<int64_t>(1, kPieceValues / std::max<int64_t>(1, size));
  std::vector<float> values;
  std::vector<uint16_t> narrow;
  for (int64_t row = 0; row < rows; row += most) {
    next_unit();
    const int64_t end = std::min(row + most, rows);
    values.resize(static_cast<size_t>((end - row) * size));
    source.read(e.name, row, end, values.data());
    const void* data = values.data();
    size_t width = sizeof(float);
    if (e.dtype != "F32") {
      narrow.resize(values.size());
      for (size_t i = 0; i < values.size(); ++i)
        narrow[i] = e.dtype == "F16" ? f16_from_f32(values[i]) : bf16_from_f32(values[i]);
      data = narrow.data();
      width = sizeof(uint16_t);
    }
    if (const int64_t bad = first_not_finite(data, static_cast<int64_t>(values.size()), e.dtype); bad >= 0)
      refuse_value(e, row * size + bad, static_cast<const std::byte*>(data) + static_cast<size_t>(bad) * width,
                   values[static_cast<size_t>(bad)], file);
    writer.append(data, values.size() * width);
    if (progress) progress(values.size() * width);
  }
}

}  // namespace

const char* file_type_name(FileType type) { return kNames[static_cast<size_t>(type)]; }
std::optional<FileType> file_type(const std::string& name) {
  for (size_t i = 0; i < std::size(kNames); ++i)
    if (name == kNames[i]) return static_cast<FileType>(i);
  return std::nullopt;
}

TensorSource tensor_source(const WeightSet& weights) {
  TensorSource out;
  std::map<std::string, View> part_of;
  for (size_t i = 0; i < weights.specs().size(); ++i) {
    const ParamSpec& spec = weights.specs()[i];
    for (const ParamPart& part : spec.parts) {
      out.items.push_back({part.name, part_shape(spec, part), spec.role == ParamRole::selection_bias});
      part_of[part.name] = weights.param(i).slice(part.row_begin, part.row_begin + part.rows);
    }
  }
  for (const auto& [copy, original] : mtp_copies(weights.config())) {
    const View& v = part_of.at(original);
    out.items.push_back({copy, {v.shape[0], v.shape[1]}, false});
    part_of[copy] = v;
  }
  out.read = [part_of = std::move(part_of), narrow = std::vector<uint16_t>()](const std::string& name, int64_t begin,
                                                                              int64_t end, float* to) mutable {
    const View rows = part_of.at(name).slice(begin, end);
    const auto n = static_cast<size_t>(rows.size());
    if (rows.dtype == DType::f32) return download(rows, to, n * sizeof(float));
    narrow.resize(n);
    download(rows, narrow.data(), n * sizeof(uint16_t));
    for (size_t i = 0; i < n; ++i) to[i] = f32_from_bf16(narrow[i]);
  };
  return out;
}

TensorSource tensor_source(const StoredModel& model) {
  TensorSource out;
  const std::vector<ParamSpec> specs = param_specs(model.config());
  check_tensors(model, specs);
  std::map<std::string, std::string> original_of;
  for (const ParamSpec& spec : specs)
    for (const ParamPart& part : spec.parts)
      out.items.push_back({part.name, part_shape(spec, part), spec.role == ParamRole::selection_bias});
  for (const auto& [copy, original] : mtp_copies(model.config())) {
    out.items.push_back({copy, model.at(original).shape, false});
    original_of[copy] = original;
  }
  out.read = [&model, original_of](const std::string& name, int64_t begin, int64_t end, float* to) {
    const auto copy = original_of.find(name);
    model.at(copy == original_of.end() ? name : copy->second).read(begin, end, to);
  };
  return out;
}

void write_model_dir(const fs::path& given, const ModelConfig& config, const TensorSource& source, const ModelTexts& texts,
                     const DirectoryOptions& options) {
  R1_CHECK(options.type != FileType::q8_0, "q8_0 is a type of GGUF files");
  const fs::path dir = given.has_filename() ? given : given.parent_path();  // "a/b/" names a/b
  const fs::path temporary = dir.string() + ".tmp";
  std::error_code error;
  fs::remove_all(temporary, error);
  if (error) throw failure("cannot remove directory: " + error.message(), {temporary.string()});
  make_directories(dir.has_parent_path() ? dir.parent_path() : ".");
  fs::create_directory(temporary, error);
  if (error) throw failure("cannot create directory: " + error.message(), {temporary.string()});

  Unfinished unfinished{temporary};
  const char* dtype = dtype_of(options.type);
  std::vector<std::vector<SafetensorsEntry>> shards(1);
  uint64_t total = 0, in_shard = 0;
  for (const TensorSource::Item& item : source.items) {
    const char* type = item.keep_f32 ? "F32" : dtype;
    const uint64_t bytes = static_cast<uint64_t>(item.shape[0] * row_size(item.shape) * safetensors_dtype_bits(type) / 8);
    if (in_shard > 0 && in_shard + bytes > options.max_shard_bytes) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().push_back({.name = item.name, .dtype = type, .shape = item.shape});
    in_shard += bytes;
    total += bytes;
  }
  nlohmann::ordered_json index;
  index["metadata"]["total_size"] = total;
  index["weight_map"] = nlohmann::ordered_json::object();
  std::map<std::string, std::string> file_of;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        shards.size() == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    for (const SafetensorsEntry& e : shards[i]) file_of[e.name] = name;
    SafetensorsWriter writer(temporary / name, std::move(shards[i]), {{"format", "pt"}});
    for (const SafetensorsEntry& e : writer.order()) write_tensor(writer, e, source, dir / name, options.progress);
    writer.finish();
  }
  if (shards.size() > 1) {
    index["weight_map"] = nlohmann::json(file_of);
    write_file_atomically(temporary / "model.safetensors.index.json", index.dump(2) + "\n");
  }
  const char* torch = options.type == FileType::f32 ? "float32" : options.type == FileType::f16 ? "float16" : "bfloat16";
  write_file_atomically(temporary / "config.json", model_config_json(config, torch));
  for (const auto& [name, text] : texts) write_file_atomically(temporary / name, text);
  fsync_directory(temporary);
  put_in_place(temporary, dir);
  unfinished.done = true;
}

}  // namespace r1
