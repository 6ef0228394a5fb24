#include "tasks/conversion.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>

namespace r1 {

using Json = nlohmann::json;

static constexpr std::pair<const char*, const char*> kUsualRoles[] = {
    {"human", "user"},    {"prompter", "user"},   {"gpt", "assistant"},    {"chatgpt", "assistant"},
    {"bot", "assistant"}, {"model", "assistant"}, {"observation", "tool"}, {"function_response", "tool"}};

static std::string shell_word(const std::string& text) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string("_./+,:@%=-").find(c) != std::string::npos;
  };
  if (!text.empty() && text[0] != '-' && std::all_of(text.begin(), text.end(), plain)) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string jq_command(const std::string& program, const std::string& file, const std::string& suffix) {
  std::string stem = file, unpack;
  const auto take = [&stem](const std::string& end) {
    if (stem.size() <= end.size() || !stem.ends_with(end)) return false;
    stem.resize(stem.size() - end.size());
    return true;
  };
  if (take(".gz"))
    unpack = "zcat";
  else if (take(".zst"))
    unpack = "zstdcat";
  for (const char* end : {".jsonl", ".json", ".ndjson"})
    if (take(end)) break;
  const std::string made = shell_word(stem + "_" + suffix + ".jsonl"), read = shell_word(file);
  if (!unpack.empty()) return fmt::format("{} {} | jq -c {} > {}", unpack, read, shell_word(program), made);
  return fmt::format("jq -c {} {} > {}", shell_word(program), read, made);
}

std::string jq_path(const std::string& name) {
  std::string out;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t dot = std::min(name.find('.', begin), name.size());
    const std::string key = name.substr(begin, dot - begin);
    const bool word =
        !key.empty() && std::isdigit(static_cast<unsigned char>(key[0])) == 0 &&
        std::all_of(key.begin(), key.end(), [](unsigned char c) { return c == '_' || (c < 128 && std::isalnum(c) != 0); });
    out += word ? "." + key : (out.empty() ? ".[" : "[") + Json(key).dump(-1, ' ', false, Json::error_handler_t::replace) + "]";
    begin = dot + 1;
  }
  return out;
}

std::string usual_role(const std::string& role) {
  for (const auto& [theirs, ours] : kUsualRoles)
    if (role == theirs) return ours;
  return {};
}

// What a role is called here, of the text at the point.
static std::string renamed_role() {
  std::string table;
  for (const auto& [theirs, ours] : kUsualRoles)
    table += fmt::format("{}\"{}\": \"{}\"", table.empty() ? "" : ", ", theirs, ours);
  return fmt::format("({{{}}}[.] // .)", table);
}

std::string roles_program(const std::string& name) { return fmt::format("{}[].role |= {}", jq_path(name), renamed_role()); }

static std::string system_message(const std::string& name) {
  return fmt::format("(if ({0} // \"\") != \"\" then {{role: \"system\", content: {0}}} else empty end)", jq_path(name));
}

bool is_sharegpt(const Json& list) {
  return list.is_array() && !list.empty() && list[0].is_object() && list[0].contains("from") && list[0].contains("value");
}

std::string sharegpt_program(const std::string& name, const Json& record) {
  std::string made = fmt::format("({}[] | {{role: (.from | {}), content: .value}})", jq_path(name), renamed_role());
  std::string gone = jq_path(name), rest;
  if (record.contains("system")) made = system_message("system") + ", " + made, gone += ", .system";
  for (const char* reply : {"chosen", "rejected"})
    if (const auto it = record.find(reply); it != record.end() && it->is_object() && it->contains("value"))
      rest += fmt::format(" | .{} |= .value", reply);
  return name == "messages"
             ? fmt::format(".messages = [{}]{}{}", made, record.contains("system") ? " | del(.system)" : "", rest)
             : fmt::format(".messages = [{}] | del({}){}", made, gone, rest);
}

std::string answering_program(const std::string& name) {
  return fmt::format(".answer = {0}[-1].content | {0} |= .[:-1]", jq_path(name));
}

std::string joining_program(const std::vector<std::string>& parts, const std::string& asked, bool is_list) {
  const std::string to = jq_path(asked);
  std::string steps, before, gone;
  for (const std::string& part : parts) {
    const std::string from = jq_path(part);
    gone += (gone.empty() ? "" : ", ") + from;
    if (part == "history")
      before += fmt::format(
          "({}[]? | if type == \"array\" then ({{role: \"user\", content: .[0]}}, {{role: \"assistant\", "
          "content: .[1]}}) else . end), ",
          from);
    else if (part == "input" || part == "context")
      steps += fmt::format("if ({0} // \"\") != \"\" then {1} += \"\\n\\n\" + {0} else . end | ", from, to);
    else
      before = system_message(part) + ", " + before;
  }
  if (is_list && !before.empty()) steps += fmt::format("{0} = [{1}{0}[]] | ", to, before);
  if (!is_list && !before.empty()) steps += fmt::format("{0} = [{1}{{role: \"user\", content: {0}}}] | ", to, before);
  return fmt::format("{}del({})", steps, gone);
}

}  // namespace r1
