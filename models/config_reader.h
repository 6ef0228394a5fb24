// Typed access to the keys of a config.json with errors that name file and key. For models/model_config*.cpp alone.
// Thread rule: values; the JSON is borrowed.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "models/model_config.h"

namespace r1 {

// No published model is near these; beyond them a number is a slip, and sizes made of it would overflow or take all memory.
constexpr int64_t kMostLayers = 1 << 10, kMostHeads = 1 << 14, kMostExperts = 1 << 14;
constexpr int64_t kMostWidth = 1 << 20;       // hidden and feed-forward sizes, dimensions of a head, ranks
constexpr int64_t kMostVocabulary = 1 << 22;  // as a tokenizer's largest id
constexpr int64_t kMostPositions = 1 << 24;

struct ConfigReader {
  const nlohmann::json& json;
  std::string file;

  [[noreturn]] void fail(const std::string& what, const std::string& hint = "") const { throw bad_input(what, {file}, hint); }

  bool has(const char* key) const { return json.contains(key) && !json.at(key).is_null(); }

  double number(const char* key) const {
    if (!json.at(key).is_number()) fail(fmt::format("\"{}\" must be a number, not {}", key, json.at(key).type_name()));
    return json.at(key).get<double>();
  }
  // A number from `least` to `most`; `otherwise` when it is not given.
  double number(const char* key, double otherwise, double least, double most) const {
    if (!has(key)) return otherwise;
    const double v = number(key);
    if (!(v >= least && v <= most)) fail(fmt::format("\"{}\" is {}, expected {} to {}", key, v, least, most));
    return v;
  }
  int64_t integer(const char* key, int64_t least, int64_t most) const {
    if (!has(key)) fail(fmt::format("\"{}\" is missing", key));
    const nlohmann::json& j = json.at(key);
    if (!j.is_number_integer()) fail(fmt::format("\"{}\" must be an integer, not {}", key, shown_json(j)));
    const auto v = json_integer(j);
    if (!v || *v < least || *v > most) fail(fmt::format("\"{}\" is {}, expected {} to {}", key, shown_json(j), least, most));
    return *v;
  }
  // At least 1.
  int64_t size(const char* key, int64_t most) const { return integer(key, 1, most); }
  int64_t size_or(const char* key, int64_t otherwise, int64_t most) const { return has(key) ? size(key, most) : otherwise; }
  // May be 0.
  int64_t count(const char* key, int64_t otherwise, int64_t most) const { return has(key) ? integer(key, 0, most) : otherwise; }
  bool flag(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!json.at(key).is_boolean()) fail(fmt::format("\"{}\" must be true or false, not {}", key, shown_json(json.at(key))));
    return json.at(key).get<bool>();
  }
  std::string text(const char* key, const std::string& otherwise) const {
    if (!has(key)) return otherwise;
    if (!json.at(key).is_string()) fail(fmt::format("\"{}\" must be a string, not {}", key, shown_json(json.at(key))));
    return json.at(key).get<std::string>();
  }
  // An id, or the first of a list of ids.
  int32_t id(const char* key) const {
    if (!has(key)) return -1;
    const nlohmann::json* j = &json.at(key);
    if (j->is_array() && !j->empty()) j = &j->front();
    const auto id = json_integer(*j);
    if (!id || *id < -1 || *id >= kMostVocabulary)
      fail(fmt::format("\"{}\" must be a token id, not {}", key, shown_json(json.at(key))));
    return static_cast<int32_t>(*id);
  }
  // An id or a list of ids below `limit`, each once; Llama 3.1 lists its end tokens. Negative ids are none.
  std::vector<int32_t> ids(const char* key, int64_t limit) const {
    std::vector<int32_t> out;
    if (!has(key)) return out;
    const nlohmann::json& all = json.at(key);
    for (const nlohmann::json& j : all.is_array() ? all : nlohmann::json::array({all})) {
      const std::optional<int64_t> id = json_integer(j);
      if (!id || *id < -1) fail(fmt::format("\"{}\" must be a token id, not {}", key, shown_json(j)));
      if (*id >= limit) fail(fmt::format("{} is {}, but vocab_size is {}", key, *id, limit));
      if (*id >= 0 && std::find(out.begin(), out.end(), static_cast<int32_t>(*id)) == out.end())
        out.push_back(static_cast<int32_t>(*id));
    }
    return out;
  }
};

// The keys of deepseek_v3 beyond those of every architecture: latent attention, experts, MTP (model_config_deepseek.cpp).
void read_deepseek(const ConfigReader&, ModelConfig&);
void write_deepseek(const ModelConfig&, nlohmann::ordered_json&);

}  // namespace r1
