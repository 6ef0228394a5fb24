#include "rewards/score_protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/clipped.h"
#include "base/json.h"
#include "rewards/response.h"

namespace r1 {
namespace {

using nlohmann::json;

bool is_name(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !text.empty() && text.size() <= 64 && letter(text[0]) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

// Its problem, or "".
std::string read_parts(const json& parts, ScoreResult& result) {
  if (!parts.is_object()) return "\"parts\" is no object";
  if (parts.size() > kMostParts) return fmt::format("{} parts, at most {} are taken", parts.size(), kMostParts);
  for (const auto& [name, value] : parts.items()) {
    if (!is_name(name)) return fmt::format("the part '{}' is no name (letters, digits, _)", clipped(name));
    if (value.is_null()) continue;  // not measured
    if (!value.is_number()) return fmt::format("the part '{}' is {}, not a number", name, shown_json(value));
    result.parts[name] = value.get<double>();
  }
  return "";
}

std::string read_object(const json& answer, int64_t id, ScoreResult& result) {
  if (!answer.is_object()) return fmt::format("it answered {}, not an object", shown_json(answer));
  if (const auto at = answer.find("id"); at != answer.end() && json_integer(*at) != id)
    return fmt::format("it answered for id {} when {} was asked for", shown_json(*at), id);
  const auto error = answer.find("error"), score = answer.find("score"), parts = answer.find("parts");
  if (error != answer.end() && !error->is_null()) {
    if (!error->is_string() || error->get_ref<const std::string&>().empty()) return "its \"error\" is no text";
    if (score != answer.end() && !score->is_null()) return "it gave a score and an error";
    result.error = clipped(error->get<std::string>(), 1000);
    return "";
  }
  if (score == answer.end()) return fmt::format("it answered {}, without a \"score\"", shown_json(answer));
  if (!score->is_number()) return fmt::format("its score is {}, not a number", shown_json(*score));
  if (parts != answer.end() && !parts->is_null())
    if (std::string problem = read_parts(*parts, result); !problem.empty()) return problem;
  result.score = score->get<double>();
  return "";
}

}  // namespace

std::string score_request(int64_t id, const ScoreItem& item) {
  json request = {
      {"id", id}, {"prompt", item.prompt}, {"response", strip_end_token(item.response)}, {"finished", item.finished}};
  if (item.tokens) request["tokens"] = *item.tokens;
  if (!item.messages.empty()) request["messages"] = try_parse_json(item.messages).value_or(json());
  json facts = json::object();
  for (const auto& [name, value] : item.facts)
    if (name != "answers") facts[name] = value;
  request["facts"] = std::move(facts);
  if (const auto at = item.facts.find("answers"); at != item.facts.end()) {
    const std::vector<std::string> answers = split_answers(at->second);
    if (!answers.empty()) request["answer"] = answers[0];
    request["answers"] = answers;
  }
  return request.dump(-1, ' ', false, json::error_handler_t::replace);
}

ScoreAnswer read_score_answer(std::string_view line, int64_t id) {
  ScoreAnswer answer;
  try {
    const json value = parse_json(line, {}, {.max_depth = 16, .max_bytes = kLongestAnswer});
    answer.nonsense = read_object(value, id, answer.result);
  } catch (const Error&) {
    answer.nonsense = fmt::format("it answered '{}', which is no JSON", clipped(std::string(line.substr(0, 200)), 80));
  }
  if (!answer.nonsense.empty()) answer.result = {};
  return answer;
}

bool says_ready(std::string_view line) {
  if (line.size() > 1000) return false;
  const json value = try_parse_json(line).value_or(json());
  const auto ready = value.is_object() ? value.find("ready") : value.end();
  return value.is_object() && ready != value.end() && *ready == true;
}

}  // namespace r1
