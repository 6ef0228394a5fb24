#include "tasks/chat_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "tasks/jinja/template.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr size_t kMostTemplates = 64;  // further ones of a directory, or of a list

constexpr size_t kLongestFile = size_t{1} << 28;

Json object_of(const std::string& text, const fs::path& file) {
  Json json = parse_json(text, {file.string()}, {.hint = "a file of a Hugging Face model directory is expected"});
  if (!json.is_object()) throw bad_input("expected an object", {file.string()});
  return json;
}

// "<s>", or {"content": "<s>", ...}; nothing for null and for what is no token.
std::string token_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string())
    return value["content"].get<std::string>();
  return "";
}

void add_special_tokens(const Json& json, const fs::path& file, ChatFiles& to) {
  for (const auto& [name, value] : json.items()) {
    if (!name.ends_with("_token") || name.starts_with("add_")) continue;  // "add_bos_token" is a flag
    const bool known =
        std::any_of(to.special_tokens.begin(), to.special_tokens.end(), [&](const auto& t) { return t.first == name; });
    const std::string text = token_text(value);
    if (name == "eos_token" && text.empty() && !value.is_null() && !value.is_string())
      throw bad_input("\"eos_token\" must be a text, not " + shown_json(value), {file.string()});
    if (!known && !text.empty()) to.special_tokens.emplace_back(name, text);
  }
}

void add_templates(const Json& value, const fs::path& file, ChatFiles& to) {
  const auto refuse = [&] {
    throw bad_input("\"chat_template\" must be a text, or a list of {\"name\", \"template\"}, not " + shown_json(value),
                    {file.string()});
  };
  if (value.is_null()) return;
  if (value.is_string()) {
    to.templates.emplace_back("default", value.get<std::string>());
  } else if (value.is_array() && value.size() <= kMostTemplates) {
    for (const Json& one : value) {
      if (!one.is_object() || !one.contains("name") || !one["name"].is_string() || !one.contains("template") ||
          !one["template"].is_string())
        refuse();
      to.templates.emplace_back(one["name"].get<std::string>(), one["template"].get<std::string>());
    }
  } else {
    refuse();
  }
  to.place = file.string();
}

}  // namespace

ChatFiles read_chat_files(const fs::path& place,
                          const std::function<std::optional<std::string>(const std::string& name)>& text) {
  ChatFiles out;
  out.place = place.string();
  const auto object = [&](const char* name) -> std::optional<Json> {
    const auto found = text(name);
    return found ? std::optional(object_of(*found, place / name)) : std::nullopt;
  };
  if (auto jinja = text("chat_template.jinja")) {
    out.templates.emplace_back("default", std::move(*jinja));
    out.place = (place / "chat_template.jinja").string();
  }
  if (const auto json = object("tokenizer_config.json")) {
    if (out.templates.empty() && json->contains("chat_template"))
      add_templates((*json)["chat_template"], place / "tokenizer_config.json", out);
    add_special_tokens(*json, place / "tokenizer_config.json", out);
  }
  if (out.templates.empty())
    if (const auto json = object("chat_template.json"); json && json->contains("chat_template"))
      add_templates((*json)["chat_template"], place / "chat_template.json", out);
  if (const auto json = object("special_tokens_map.json")) add_special_tokens(*json, place / "special_tokens_map.json", out);
  return out;
}

ChatFiles read_chat_files(const fs::path& dir) {
  ChatFiles out = read_chat_files(dir, [&](const std::string& name) -> std::optional<std::string> {
    const size_t longest = name.ends_with(".jinja") ? jinja::kMaxTemplate : kLongestFile;
    return fs::exists(dir / name) ? std::optional(read_small_file(dir / name, longest)) : std::nullopt;
  });
  if (!out.place.ends_with(".jinja")) return out;
  std::vector<fs::path> others;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(dir / "additional_chat_templates", none))
    if (entry.path().extension() == ".jinja" && others.size() < kMostTemplates) others.push_back(entry.path());
  std::sort(others.begin(), others.end());
  for (const fs::path& file : others)
    out.templates.emplace_back(file.stem().string(), read_small_file(file, jinja::kMaxTemplate));
  return out;
}

}  // namespace r1
