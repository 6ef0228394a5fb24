// Typed access to the keys of a config.json with errors that name file and key. For models/model_config*.cpp alone.
// Thread rule: values; the JSON is borrowed.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "models/model_config.h"

namespace r1 {

struct ConfigReader {
  const nlohmann::json& json;
  std::string file;

  [[noreturn]] void fail(const std::string& what, const std::string& hint = "") const { throw bad_input(what, {file}, hint); }

  bool has(const char* key) const { return json.contains(key) && !json.at(key).is_null(); }

  double number(const char* key) const {
    if (!json.at(key).is_number()) fail(fmt::format("\"{}\" must be a number, not {}", key, json.at(key).type_name()));
    return json.at(key).get<double>();
  }
  double number(const char* key, double otherwise) const { return has(key) ? number(key) : otherwise; }
  int64_t integer(const char* key, int64_t least) const {
    if (!has(key)) fail(fmt::format("\"{}\" is missing", key));
    if (!json.at(key).is_number_integer()) fail(fmt::format("\"{}\" must be an integer, not {}", key, json.at(key).dump()));
    const int64_t v = json.at(key).get<int64_t>();
    if (v < least || v > (int64_t{1} << 31) - 1) fail(fmt::format("\"{}\" is {}, expected {} to 2147483647", key, v, least));
    return v;
  }
  int64_t size(const char* key) const { return integer(key, 1); }
  int64_t size(const char* key, int64_t otherwise) const { return has(key) ? size(key) : otherwise; }
  // May be 0.
  int64_t count(const char* key, int64_t otherwise) const { return has(key) ? integer(key, 0) : otherwise; }
  bool flag(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!json.at(key).is_boolean()) fail(fmt::format("\"{}\" must be true or false, not {}", key, json.at(key).dump()));
    return json.at(key).get<bool>();
  }
  std::string text(const char* key, const std::string& otherwise) const {
    if (!has(key)) return otherwise;
    if (!json.at(key).is_string()) fail(fmt::format("\"{}\" must be a string, not {}", key, json.at(key).dump()));
    return json.at(key).get<std::string>();
  }
  // An id, or the first of a list of ids (Llama 3.1 lists its end tokens).
  int32_t id(const char* key) const {
    if (!has(key)) return -1;
    const nlohmann::json* j = &json.at(key);
    if (j->is_array() && !j->empty()) j = &j->front();
    if (!j->is_number_integer() || j->get<int64_t>() < -1 || j->get<int64_t>() > (int64_t{1} << 31) - 1)
      fail(fmt::format("\"{}\" must be a token id, not {}", key, json.at(key).dump()));
    return j->get<int32_t>();
  }
};

// The keys of deepseek_v3 beyond those of every architecture: latent attention, experts, MTP (model_config_deepseek.cpp).
void read_deepseek(const ConfigReader&, ModelConfig&);
void write_deepseek(const ModelConfig&, nlohmann::ordered_json&);

}  // namespace r1
