#include "models/training/trainer_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
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
constexpr int64_t kPieceValues = int64_t{1} << 20;

// The pieces of `values` values, in order.
void for_pieces(int64_t values, const std::function<void(int64_t begin, int64_t end)>& f) {
  for (int64_t begin = 0; begin < values; begin += kPieceValues) f(begin, std::min(values, begin + kPieceValues));
}

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

std::function<void()> write_trainer_state(const std::filesystem::path& file, const WeightSet& masters,
                                          const Optimizer& optimizer, const std::string& optimizer_name, int64_t version) {
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, View> views;
  for (const Group& g : groups(masters, optimizer)) {
    for (size_t i = 0; i < masters.specs().size(); ++i) {
      const std::string name = fmt::format("{}/{}", g.name, masters.specs()[i].name);
      entries.push_back({name, "F32", masters.specs()[i].shape, nullptr, 0});
      views[name] = g.set->param(i);
    }
  }
  entries.push_back({kHash, "U8", {32}, nullptr, 0});  // the narrowest: behind the others
  const std::map<std::string, std::string> metadata = {{"format", kFormat},
                                                       {"config", model_config_json(masters.config(), "float32")},
                                                       {"optimizer", optimizer_name},
                                                       {"version", std::to_string(version)},
                                                       {"optimizer_steps", std::to_string(optimizer.steps())}};
  const auto writer = std::make_shared<SafetensorsWriter>(file, std::move(entries), metadata);
  std::vector<Hash128> hashes;
  std::vector<float> host;
  for (const SafetensorsEntry& e : writer->order()) {
    check_stop();
    if (e.name == kHash) break;
    const View& all = views.at(e.name);
    const View flat = all.reshape({all.size()});
    for_pieces(flat.size(), [&](int64_t begin, int64_t end) {
      host.resize(static_cast<size_t>(end - begin));
      download(flat.slice(begin, end), host.data(), host.size() * sizeof(float));
      hashes.push_back(hash_bytes(host.data(), host.size() * sizeof(float)));
      if (const int64_t bad = first_not_finite(host.data(), end - begin, "F32"); bad >= 0)
        throw failure(fmt::format("the trainer's state of version {} is not finite: {}", version,
                                  not_finite_text(e.name, e.shape, begin + bad, &host[static_cast<size_t>(bad)], "F32")),
                      {file.string()}, "a smaller learning rate may help");
      writer->append(host.data(), host.size() * sizeof(float));
    });
  }
  const std::string hash = hash_list(hashes).hex();
  writer->append(hash.data(), hash.size());
  return [writer] { writer->finish(); };
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
  std::map<std::string, std::pair<View, SafetensorsEntry>> parts;
  for (const Group& g : groups(masters, optimizer)) {
    for (size_t i = 0; i < masters.specs().size(); ++i) {
      const ParamSpec& s = masters.specs()[i];
      const std::string name = fmt::format("{}/{}", g.name, s.name);
      const auto e = in.find(name);
      if (!e || e->dtype != "F32" || e->shape != s.shape)
        throw bad_input(fmt::format("tensor {} is missing or has another shape or type", name), {file.string()});
      parts[name] = {g.set->param(i), *e};
    }
  }
  std::vector<Hash128> hashes;
  for (const auto& [name, part] : parts)
    for_pieces(part.first.size(), [&, data = static_cast<const std::byte*>(part.second.data)](int64_t begin, int64_t end) {
      hashes.push_back(
          hash_bytes(data + begin * static_cast<int64_t>(sizeof(float)), static_cast<size_t>(end - begin) * sizeof(float)));
    });
  const auto hash = in.find(kHash);
  if (!hash || std::string_view(reinterpret_cast<const char*>(hash->data), hash->bytes) != hash_list(hashes).hex())
    throw bad_input("its hash differs from the one it was written with", {file.string()}, "the file was damaged");
  for (const auto& [name, part] : parts) upload(part.first, part.second.data, part.second.bytes);
  optimizer.set_steps(steps);
  return version;
}

}  // namespace r1
