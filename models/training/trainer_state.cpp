#include "models/training/trainer_state.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <map>

#include "base/stop.h"
#include "base/error.h"
#include "base/hash.h"
#include "models/finite.h"
#include "models/safetensors.h"

namespace r1 {
namespace {

constexpr const char* kFormat = "r1-trainer-state-2";

struct Group {
  const char* name;
  const WeightSet* set;
};
std::array<Group, 3> groups(const WeightSet& masters, const Optimizer& optimizer) {
  return {{{"masters", &masters}, {"first", &optimizer.first()}, {"second", &optimizer.second()}}};
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

void save_trainer_state(const std::filesystem::path& file, const WeightSet& masters, const Optimizer& optimizer,
                        const std::string& optimizer_name, int64_t version) {
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, View> views;
  std::vector<Hash128> hashes;
  for (const Group& g : groups(masters, optimizer)) {
    for (size_t i = 0; i < masters.specs().size(); ++i) {
      const ParamSpec& s = masters.specs()[i];
      const std::string name = fmt::format("{}/{}", g.name, s.name);
      entries.push_back({name, "F32", s.shape, nullptr, 0});
      views[name] = g.set->param(i);
      const std::vector<float> host = download_as<float>(views[name]);
      hashes.push_back(hash_bytes(host.data(), host.size() * sizeof(float)));
      if (const int64_t bad = first_not_finite(host.data(), static_cast<int64_t>(host.size()), "F32"); bad >= 0)
        throw failure(fmt::format("the trainer's state of version {} is not finite: {}", version,
                                  not_finite_text(name, s.shape, bad, &host[static_cast<size_t>(bad)], "F32")),
                      {file.string()}, "a smaller learning rate may help");
    }
  }
  const std::map<std::string, std::string> metadata = {{"format", kFormat},
                                                       {"config", model_config_json(masters.config(), "float32")},
                                                       {"optimizer", optimizer_name},
                                                       {"version", std::to_string(version)},
                                                       {"hash", hash_list(hashes).hex()},
                                                       {"optimizer_steps", std::to_string(optimizer.steps())}};
  SafetensorsWriter writer(file, std::move(entries), metadata);
  for (const SafetensorsEntry& e : writer.order()) {
    check_stop();
    const std::vector<float> host = download_as<float>(views.at(e.name));
    writer.append(host.data(), host.size() * sizeof(float));
  }
  writer.finish();
}

int64_t load_trainer_state(const std::filesystem::path& file, const WeightSet& masters, Optimizer& optimizer,
                           const std::string& optimizer_name) {
  const SafetensorsFile in(file);
  expect(in.metadata(), "format", kFormat, file);
  expect(in.metadata(), "config", model_config_json(masters.config(), "float32"), file);
  expect(in.metadata(), "optimizer", optimizer_name, file);
  const int64_t version = read_count(in.metadata(), "version", file),
                steps = read_count(in.metadata(), "optimizer_steps", file);
  // Everything is checked before anything is changed.
  std::vector<std::pair<View, SafetensorsEntry>> parts;
  std::vector<Hash128> hashes;
  for (const Group& g : groups(masters, optimizer)) {
    for (size_t i = 0; i < masters.specs().size(); ++i) {
      const ParamSpec& s = masters.specs()[i];
      const std::string name = fmt::format("{}/{}", g.name, s.name);
      const auto e = in.find(name);
      if (!e || e->dtype != "F32" || e->shape != s.shape)
        throw bad_input(fmt::format("tensor {} is missing or has another shape or type", name), {file.string()});
      parts.emplace_back(g.set->param(i), *e);
      hashes.push_back(hash_bytes(e->data, e->bytes));
    }
  }
  const auto hash = in.metadata().find("hash");
  if (hash == in.metadata().end() || hash->second != hash_list(hashes).hex())
    throw bad_input("its hash differs from the one it was written with", {file.string()}, "the file was damaged");
  for (const auto& [view, e] : parts) upload(view, e.data, e.bytes);
  optimizer.set_steps(steps);
  return version;
}

}  // namespace r1
