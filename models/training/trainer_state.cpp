#include "models/training/trainer_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <exception>
#include <map>
#include <memory>

#include "base/stop.h"
#include "base/error.h"
#include "base/hash.h"
#include "models/finite.h"
#include "models/safetensors.h"

namespace r1 {
namespace {

constexpr const char* kFormat = "r1-trainer-state-3";
constexpr const char* kHash = "hash";
constexpr const char* kMasters = "masters/";
constexpr int64_t kPieceValues = int64_t{1} << 20;

// The pieces of `values` values, in order.
void for_pieces(int64_t values, const std::function<void(int64_t begin, int64_t end)>& f) {
  for (int64_t begin = 0; begin < values; begin += kPieceValues) f(begin, std::min(values, begin + kPieceValues));
}

struct Part {
  StateGroup group;
  size_t param;
  int64_t values;
};
// The parts by their names in the file, which is its order too.
std::map<std::string, Part> parts_of(const WeightSet& like) {
  std::map<std::string, Part> parts;
  for (size_t i = 0; i < like.specs().size(); ++i) {
    const std::string& name = like.specs()[i].name;
    const int64_t n = like.param(i).size();
    parts[kMasters + name] = {StateGroup::masters, i, n};
    parts["first/" + name] = {StateGroup::first, i, n};
    parts["second/" + name] = {StateGroup::second, i, n};
  }
  return parts;
}

int64_t read_count(const std::map<std::string, std::string>& metadata, const char* key, const std::filesystem::path& file) {
  const auto it = metadata.find(key);
  int64_t v = -1;
  if (it != metadata.end()) std::from_chars(it->second.data(), it->second.data() + it->second.size(), v);
  if (v < 0) throw bad_input(fmt::format("metadata \"{}\" is missing or not a count", key), {file.string()});
  return v;
}

void expect(const std::map<std::string, std::string>& metadata, const char* key, const std::string& wanted,
            const std::filesystem::path& file) {
  const auto it = metadata.find(key);
  if (it == metadata.end() || it->second != wanted)
    throw bad_input(fmt::format("not the state of this trainer: \"{}\" differs", key), {file.string()},
                    "a snapshot continues only the graph that wrote it");
}

}  // namespace

std::function<void()> write_trainer_state(const std::filesystem::path& file, const TrainerState& state,
                                          const std::string& optimizer_name, int64_t version) {
  const std::map<std::string, Part> parts = parts_of(state.like);
  std::shared_ptr<SafetensorsWriter> writer;
  std::exception_ptr failed;  // what the others give is taken all the same
  const auto trying = [&](auto&& f) {
    if (failed) return;
    try {
      f();
    } catch (...) {
      if (state.together == nullptr) throw;
      failed = std::current_exception();
    }
  };
  trying([&] {
    std::vector<SafetensorsEntry> entries;
    for (const auto& [name, part] : parts) entries.push_back({name, "F32", state.like.specs()[part.param].shape, nullptr, 0});
    entries.push_back({kHash, "U8", {32}, nullptr, 0});  // the narrowest: behind the others
    const std::map<std::string, std::string> metadata = {{"format", kFormat},
                                                         {"config", model_config_json(state.like.config(), "float32")},
                                                         {"optimizer", optimizer_name},
                                                         {"version", std::to_string(version)},
                                                         {"optimizer_steps", std::to_string(state.optimizer.steps())}};
    writer = std::make_shared<SafetensorsWriter>(file, std::move(entries), metadata);
  });
  StateValues values(state);
  std::vector<Hash128> hashes;
  std::vector<float> host;
  for (const auto& [name, part] : parts) {
    trying(next_unit);
    for_pieces(part.values, [&, name = name, part = part](int64_t begin, int64_t end) {
      host.resize(static_cast<size_t>(end - begin));
      values.get(part.group, part.param, begin, end, host.data());
      trying([&] {
        hashes.push_back(hash_bytes(host.data(), host.size() * sizeof(float)));
        if (const int64_t bad = first_not_finite(host.data(), end - begin, "F32"); bad >= 0)
          throw failure(fmt::format("the trainer's state of version {} is not finite: {}", version,
                                    not_finite_text(name, state.like.specs()[part.param].shape, begin + bad,
                                                    &host[static_cast<size_t>(bad)], "F32")),
                        {file.string()}, "a smaller learning rate may help");
        writer->append(host.data(), host.size() * sizeof(float));
      });
    });
  }
  if (failed) std::rethrow_exception(failed);
  const std::string hash = hash_list(hashes).hex();
  writer->append(hash.data(), hash.size());
  return [writer] { writer->finish(); };
}

void give_trainer_state(const TrainerState& state) {
  StateValues values(state);
  for (const auto& [name, part] : parts_of(state.like))
    for_pieces(part.values,
               [&, part = part](int64_t begin, int64_t end) { values.get(part.group, part.param, begin, end, nullptr); });
}

StoredState open_trainer_state(const std::filesystem::path& file, const WeightSet& like, const std::string& optimizer_name) {
  StoredState stored;
  stored.file = std::make_shared<SafetensorsFile>(file);
  const SafetensorsFile& in = *stored.file;
  expect(in.metadata(), "format", kFormat, file);
  expect(in.metadata(), "config", model_config_json(like.config(), "float32"), file);
  expect(in.metadata(), "optimizer", optimizer_name, file);
  stored.version = read_count(in.metadata(), "version", file);
  stored.optimizer_steps = read_count(in.metadata(), "optimizer_steps", file);
  std::vector<Hash128> hashes;
  for (const auto& [name, part] : parts_of(like)) {
    next_unit();
    const auto e = in.find(name);
    if (!e || e->dtype != "F32" || e->shape != like.specs()[part.param].shape)
      throw bad_input(fmt::format("tensor {} is missing or has another shape or type", name), {file.string()});
    for_pieces(part.values, [&, data = static_cast<const std::byte*>(e->data)](int64_t begin, int64_t end) {
      hashes.push_back(
          hash_bytes(data + begin * static_cast<int64_t>(sizeof(float)), static_cast<size_t>(end - begin) * sizeof(float)));
    });
  }
  const auto hash = in.find(kHash);
  if (!hash || std::string_view(reinterpret_cast<const char*>(hash->data), hash->bytes) != hash_list(hashes).hex())
    throw bad_input("its hash differs from the one it was written with", {file.string()}, "the file was damaged");
  return stored;
}

int64_t load_trainer_state(const StoredState* stored, const TrainerState& state) {
  StateValues values(state);
  std::vector<float> host;
  for (const auto& [name, part] : parts_of(state.like)) {
    const auto* data = stored ? static_cast<const std::byte*>(stored->file->find(name)->data) : nullptr;
    for_pieces(part.values, [&, part = part](int64_t begin, int64_t end) {
      if (data != nullptr) {
        host.resize(static_cast<size_t>(end - begin));
        std::memcpy(host.data(), data + begin * static_cast<int64_t>(sizeof(float)), host.size() * sizeof(float));
      }
      values.put(part.group, part.param, begin, end, data != nullptr ? host.data() : nullptr);
    });
  }
  int64_t version = stored ? stored->version : 0, steps = stored ? stored->optimizer_steps : 0;
  values.agree_on(version, steps);
  state.optimizer.set_steps(steps);
  return version;
}

}  // namespace r1
