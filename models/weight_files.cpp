// Hugging Face model directories: reading, checking, writing (models/weights.h).
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/stop.h"
#include "models/finite.h"
#include "models/model_export.h"
#include "models/model_files.h"
#include "models/safetensors.h"
#include "models/weight_files.h"
#include "models/weights.h"

namespace r1 {

namespace fs = std::filesystem;

namespace {

// A tenth of a second of one core.
constexpr uint64_t kCheckedBytes = uint64_t{1} << 30;
constexpr uint64_t kProgressBytes = 2'000'000'000;  // a few seconds of a good disk
constexpr const char* kHeadName = "lm_head.weight";
constexpr const char* kEmbeddingName = "model.embed_tokens.weight";

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

// Buffers that older checkpoints carry and no architecture here reads.
bool ignorable(const std::string& name) {
  const std::string_view suffix = ".rotary_emb.inv_freq";
  return name.size() > suffix.size() && name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
}

// target: a contiguous view of f32 or bf16. Returns the first value that is not a finite number there, in words, or "".
std::string upload_converted(const View& target, const StoredTensor& t, const std::function<void(uint64_t)>& progress) {
  const bool to_f32 = target.dtype == DType::f32;
  R1_CHECK(to_f32 || target.dtype == DType::bf16, target.str());
  const char* type = to_f32 ? "F32" : "BF16";
  const int64_t rows = t.shape[0], row_size = t.row_size(), piece = std::max<int64_t>(1, kPieceValues / row_size);
  std::vector<float> values;
  std::vector<uint16_t> narrow;
  for (int64_t row = 0; row < rows; row += piece) {
    next_unit();
    const int64_t end = std::min(row + piece, rows), n = (end - row) * row_size;
    values.resize(static_cast<size_t>(n));
    t.read(row, end, values.data());
    const void* host = values.data();
    if (!to_f32) {
      narrow.resize(values.size());
      for (size_t i = 0; i < values.size(); ++i) narrow[i] = bf16_from_f32(values[i]);
      host = narrow.data();
    }
    const size_t width = dtype_size(target.dtype);
    upload(target.slice(row, end), host, static_cast<size_t>(n) * width);
    if (const int64_t bad = first_not_finite(host, n, type); bad >= 0)
      return not_finite_text(t.name, t.shape, row * row_size + bad,
                             static_cast<const std::byte*>(host) + static_cast<size_t>(bad) * width, type);
    progress(t.bytes * static_cast<uint64_t>(end) / static_cast<uint64_t>(rows) -
             t.bytes * static_cast<uint64_t>(row) / static_cast<uint64_t>(rows));
  }
  return {};
}

[[noreturn]] void refuse_value(const std::string& text, const std::string& file) {
  throw bad_input(text, {file}, "the training that wrote this checkpoint diverged, or the file was damaged");
}

// The first value of a tensor that is not a finite number, in words, or "". Read in pieces, as it is in the file.
std::string bad_value(const StoredTensor& t) {
  if (!t.decoder || t.shape.empty()) return {};
  const int64_t rows = t.shape[0], row_size = std::max<int64_t>(1, t.row_size()),
                piece = std::max<int64_t>(1, kPieceValues / row_size);
  std::vector<float> values;
  for (int64_t row = 0; row < rows; row += piece) {
    const int64_t end = std::min(row + piece, rows);
    values.resize(static_cast<size_t>((end - row) * row_size));
    t.read(row, end, values.data());
    const int64_t bad = first_not_finite(values.data(), static_cast<int64_t>(values.size()), "F32");
    if (bad >= 0) return not_finite_text(t.name, t.shape, row * row_size + bad, &values[static_cast<size_t>(bad)], "F32");
  }
  return {};
}

// Every value of a model small enough to be read while the user waits.
void check_values(const StoredModel& model) {
  if (model.bytes() > kCheckedBytes) return;
  std::vector<const StoredTensor*> all;
  for (const auto& [name, t] : model.tensors()) all.push_back(&t);
  std::vector<std::string> bad(all.size());
  parallel_tasks(static_cast<int64_t>(all.size()),
                 [&](int64_t i) { bad[static_cast<size_t>(i)] = bad_value(*all[static_cast<size_t>(i)]); });
  for (size_t i = 0; i < bad.size(); ++i)
    if (!bad[i].empty()) refuse_value(bad[i], all[i]->path().string());
}

// A tied model whose file carries a head all the same: fine if it is the embedding, a different model if not.
void check_redundant_head(const StoredModel& model) {
  const auto head = model.tensors().find(kHeadName);
  if (head == model.tensors().end() || !model.config().tied_head || model.config().scalar_head) return;
  const StoredTensor &e = model.at(kEmbeddingName), &h = head->second;
  bool same = h.type == e.type && h.shape == e.shape;
  std::vector<std::byte> a, b;
  for (uint64_t at = 0; same && at < e.bytes; at += a.size()) {
    next_unit();
    a.resize(static_cast<size_t>(std::min<uint64_t>(e.bytes - at, uint64_t{1} << 22)));
    b.resize(a.size());
    e.file->read(e.offset + at, a.data(), a.size());
    h.file->read(h.offset + at, b.data(), b.size());
    same = a == b;
  }
  if (!same)
    throw bad_input(fmt::format("tensor '{}' differs from '{}' but config.json ties them", kHeadName, kEmbeddingName),
                    {h.path().string()}, "set \"tie_word_embeddings\": false in config.json if the head is separate");
}

// Says how far the load of a large model is, a line every few GB. Any thread.
class Progress {
 public:
  Progress(const fs::path& model, uint64_t bytes) : model_(model), bytes_(bytes) {}
  void add(uint64_t bytes) {
    const uint64_t before = done_.fetch_add(bytes), now = before + bytes;
    if (before / kProgressBytes == now / kProgressBytes) return;
    constexpr double kGb = 1e9;
    log_info(fmt::format("reading {}: {:.1f} of {:.1f} GB", model_.string(), static_cast<double>(now) / kGb,
                         static_cast<double>(bytes_) / kGb));
  }

 private:
  const fs::path& model_;
  uint64_t bytes_;
  std::atomic<uint64_t> done_{0};
};

}  // namespace

std::vector<int64_t> part_shape(const ParamSpec& spec, const ParamPart& part) {
  std::vector<int64_t> shape = spec.shape;
  shape[0] = part.rows;
  return shape;
}

std::vector<std::pair<std::string, std::string>> mtp_copies(const ModelConfig& config) {
  if (!config.has_mtp()) return {};
  const std::string p = fmt::format("model.layers.{}.", config.layers);
  return {{p + "embed_tokens.weight", kEmbeddingName},
          {p + "shared_head.head.weight", config.tied_head ? kEmbeddingName : kHeadName}};
}

void check_tensors(const StoredModel& model, const std::vector<ParamSpec>& specs) {
  const ModelConfig& config = model.config();
  std::vector<std::string> known;
  bool any = false;
  for (const ParamSpec& spec : specs)
    for (const ParamPart& part : spec.parts) any = any || model.tensors().contains(part.name);
  if (!any)
    throw bad_input(
        fmt::format("none of its {} tensors has a name of this architecture{}", model.tensors().size(),
                    model.tensors().empty() ? "" : fmt::format(" (the first is '{}')", model.tensors().begin()->first)),
        {model.main_file()}, fmt::format("names like '{}' are expected", specs[0].parts[0].name));
  for (const ParamSpec& spec : specs) {
    for (const ParamPart& part : spec.parts) {
      known.push_back(part.name);
      const auto it = model.tensors().find(part.name);
      if (it == model.tensors().end())
        throw bad_input(fmt::format("tensor '{}' is missing", part.name), {model.main_file()},
                        part.name == kHeadName ? "if the head is the embedding, config.json needs \"tie_word_embeddings\": true"
                        : spec.mtp             ? "a checkpoint without the MTP module needs \"num_nextn_predict_layers\": 0"
                                               : "config.json says that the model has it");
      const StoredTensor& t = it->second;
      const auto expected = part_shape(spec, part);
      if (t.shape != expected)
        throw bad_input(
            fmt::format("tensor '{}' has shape {}, config.json needs {}", part.name, shape_text(t.shape), shape_text(expected)),
            {t.path().string()});
      if (!t.decoder)
        throw bad_input(fmt::format("tensor '{}' is {}, expected F32, BF16 or F16", part.name, t.type), {t.path().string()},
                        "convert the checkpoint to BF16 first");
    }
  }
  std::set<std::string> names(known.begin(), known.end());
  for (const auto& [copy, original] : mtp_copies(config)) {
    const auto found = model.tensors().find(copy);
    if (found == model.tensors().end()) continue;
    const auto& expected = model.at(original).shape;
    if (found->second.shape != expected)
      throw bad_input(fmt::format("tensor '{}' has shape {}, '{}' has {}", copy, shape_text(found->second.shape), original,
                                  shape_text(expected)),
                      {found->second.path().string()}, "the MTP module shares the model's embedding and head");
    names.insert(copy);
  }
  for (const auto& [name, found] : model.tensors()) {
    if (names.count(name) != 0 || ignorable(name)) continue;
    if (name == kHeadName && config.tied_head && !config.scalar_head) continue;  // compared with the embedding when loading
    const std::string near = nearest(name, known);
    throw bad_input(fmt::format("unexpected tensor '{}'", name), {found.path().string()},
                    near.empty() ? "config.json describes a model without it" : fmt::format("the model has '{}'", near));
  }
}

void check_model_dir(const fs::path& path) {
  const StoredModel model(path);
  check_tensors(model, param_specs(model.config()));
  check_values(model);
}

std::shared_ptr<WeightSet> load_weights(Device& device, const fs::path& path, DType dtype) {
  const StoredModel model(path);
  auto weights = std::make_shared<WeightSet>(device, model.config(), dtype);
  check_tensors(model, weights->specs());
  check_redundant_head(model);
  struct Job {
    View target;
    const StoredTensor* tensor;
    std::string bad;
  };
  std::vector<Job> jobs;
  for (size_t i = 0; i < weights->specs().size(); ++i)
    for (const ParamPart& part : weights->specs()[i].parts)
      jobs.push_back({weights->param(i).slice(part.row_begin, part.row_begin + part.rows), &model.at(part.name), {}});
  Progress progress(path, model.bytes());
  device_tasks(device, static_cast<int64_t>(jobs.size()), [&, stop = current_stop()](int64_t j) {
    const StopScope scope(stop);
    next_unit();
    Job& job = jobs[static_cast<size_t>(j)];
    job.bad = upload_converted(job.target, *job.tensor, [&](uint64_t bytes) { progress.add(bytes); });
  });
  for (const Job& job : jobs)
    if (!job.bad.empty()) refuse_value(job.bad, job.tensor->path().string());
  return weights;
}

void save_model_dir(const fs::path& dir, const WeightSet& weights, const std::string& tokenizer_json,
                    const std::map<std::string, std::string>& given) {
  ModelTexts texts = given;
  if (!tokenizer_json.empty()) texts["tokenizer.json"] = tokenizer_json;
  DirectoryOptions options;
  options.type = weights.dtype() == DType::f32 ? FileType::f32 : FileType::bf16;
  options.max_shard_bytes = std::numeric_limits<uint64_t>::max();
  write_model_dir(dir, weights.config(), tensor_source(weights), texts, options);
}

}  // namespace r1
