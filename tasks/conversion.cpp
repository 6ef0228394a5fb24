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

std::string csv_command(const std::string& file) {
  const bool tabs = file.ends_with(".tsv");
  return fmt::format(
      "python3 -c 'import csv, json, sys; sys.stdin.reconfigure(encoding=\"utf-8-sig\", newline=\"\"); "
      "[print(json.dumps(r)) for r in csv.DictReader(sys.stdin{})]' < {} > {}",
      tabs ? ", delimiter=\"\\t\"" : "", shell_word(file), shell_word(file.substr(0, file.size() - 4) + "_lines.jsonl"));
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

static bool is_sharegpt(const Json& list) {
  return list.is_array() && !list.empty() && list[0].is_object() && list[0].contains("from") && list[0].contains("value");
}

static std::string sharegpt_program(const std::string& name, const Json& record) {
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

static bool is_gemini(const Json& list) {
  const auto is_text = [](const Json& part) { return part.is_object() && part.contains("text") && part["text"].is_string(); };
  const auto is_message = [&](const Json& m) {
    const auto parts = m.is_object() ? m.find("parts") : m.end();
    return m.is_object() && parts != m.end() && parts->is_array() && std::all_of(parts->begin(), parts->end(), is_text);
  };
  return list.is_array() && !list.empty() && std::all_of(list.begin(), list.end(), is_message);
}

// `name`: of the messages; "systemInstruction" stands beside them.
static std::string gemini_program(const std::string& name) {
  const size_t dot = name.rfind('.');
  const std::string beside = dot == std::string::npos ? "" : name.substr(0, dot + 1),
                    camel = jq_path(beside + "systemInstruction"), snake = jq_path(beside + "system_instruction"),
                    text = "content: ([.parts[].text] | join(\"\"))";
  return fmt::format(
      ".messages = [({1} // {2} // empty | {{role: \"system\", {3}}}), ({0}[] | {{role: (.role // \"user\" | {4}), {3}}})]{5}",
      jq_path(name), camel, snake, text, renamed_role(),
      name == "messages" ? fmt::format(" | del({}, {})", camel, snake)
                         : fmt::format(" | del({}, {}, {})", jq_path(name), camel, snake));
}

ForeignMessages foreign_messages(const Json& list, const std::string& name, const Json& record) {
  if (is_sharegpt(list)) return {"ShareGPT", "\"from\" and \"value\"", sharegpt_program(name, record)};
  if (is_gemini(list)) return {"Gemini", "\"role\" and \"parts\"", gemini_program(name)};
  return {};
}

bool is_hh_dialogue(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \n");
  return begin != std::string::npos && text.compare(begin, 6, "Human:") == 0 &&
         text.find("\n\nAssistant:") != std::string::npos;
}

std::string hh_program(const std::string& chosen, const std::string& rejected) {
  return fmt::format(
      "def turns: \"\\n\\n\" + sub(\"^\\\\s+\"; \"\") | [split(\"\\n\\nHuman:\")[1:][] | split(\"\\n\\nAssistant:\") | "
      "{{role: \"user\", content: .[0]}}, (.[1:][] | {{role: \"assistant\", content: .}})] | "
      "map(.content |= (sub(\"^\\\\s+\"; \"\") | sub(\"\\\\s+$\"; \"\"))); "
      "{0} |= turns | {1} |= turns | select({0}[:-1] == {1}[:-1] and {0}[-1] != {1}[-1] and "
      "([{0}[-1], {1}[-1]] | all(.role == \"assistant\" and .content != \"\")))",
      jq_path(chosen), jq_path(rejected));
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
