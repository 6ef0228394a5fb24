#include "rewards/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "rewards/choice.h"
#include "rewards/language.h"
#include "rewards/math_answer.h"
#include "rewards/program_calls.h"
#include "rewards/response.h"
#include "rewards/rule_calls.h"

namespace r1 {

namespace {

struct Rule {
  const char* name;
  double (*value)(const RewardInput&);
};

constexpr Rule kRules[] = {
    {"accuracy", accuracy_reward}, {"format", format_reward},      {"format_think", format_think_reward},
    {"math", math_reward},         {"language", language_reward},  {"courtesy", courtesy_reward},
    {"refusal", refusal_reward},   {"think_length", think_length}, {"length", length},
    {"finished", finished},        {"exact", exact_reward},        {"choice", choice_reward},
};

// The answer, whitespace normalised; `polite` tells whether a courtesy ending was taken off.
std::string plain_answer(const RewardInput& in, bool* polite = nullptr) {
  std::string answer = normalize_space(parse_response(in.prompt, in.response).answer);
  const std::string courtesy = normalize_space(in.fact("courtesy"));
  const bool ends = !courtesy.empty() && answer.size() > courtesy.size() && answer.ends_with(" " + courtesy);
  if (ends) answer.resize(answer.size() - courtesy.size() - 1);
  if (polite != nullptr) *polite = ends;
  return answer;
}

// "0", "1", and the ways in which JSON writers spell them: 0.0, 1.0, 1e0.
std::optional<double> zero_or_one(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || (value != 0 && value != 1)) return std::nullopt;
  return value;
}

std::string not_a_number(std::string_view name, std::string_view value) {
  return fmt::format("the fact '{0}' is '{1}' here, and as a number a fact is 0 or 1", name, value);
}

}  // namespace

double accuracy_reward(const RewardInput& in) {
  const std::string answer = plain_answer(in);
  if (answer.empty()) return 0;
  for (const std::string& accepted : split_answers(in.fact("answers")))
    if (normalize_space(accepted) == answer) return 1;
  return 0;
}

double format_reward(const RewardInput& in) {
  const ResponseParts parts = parse_response(in.prompt, in.response);
  return in.finished && parts.exact_tags && !parts.thought.empty() && !parts.answer.empty() ? 1 : 0;
}

double format_think_reward(const RewardInput& in) {
  constexpr std::string_view open = "<think>", close = "</think>";
  const std::string_view body = strip_end_token(in.response);
  const bool opened = trim(in.prompt).ends_with(open);
  if (!in.finished || count_of(body, close) != 1 || count_of(body, open) != (opened ? 0 : 1)) return 0;
  if (!opened && !body.starts_with(open)) return 0;
  const size_t end = body.find(close);
  const size_t begin = opened ? 0 : open.size();
  if (end < begin) return 0;
  return !trim(body.substr(begin, end - begin)).empty() && !trim(body.substr(end + close.size())).empty() ? 1 : 0;
}

double exact_reward(const RewardInput& in) {
  const std::string answer = normalize_space(final_answer(in.response));
  if (answer.empty()) return 0;
  for (const std::string& accepted : split_answers(in.fact("answers")))
    if (normalize_space(accepted) == answer) return 1;
  return 0;
}

double math_reward(const RewardInput& in) {
  const std::optional<std::string> answer = extract_math_answer(final_answer(in.response));
  if (!answer) return 0;
  for (const std::string& accepted : split_answers(in.fact("answers")))
    if (math_accepts(*answer, accepted, in.prompt)) return 1;
  return 0;
}

double language_reward(const RewardInput& in) {
  return language_share(parse_response(in.prompt, in.response).thought, in.fact("language"));
}

double courtesy_reward(const RewardInput& in) {
  bool polite = false;
  const std::string rest = plain_answer(in, &polite);
  return polite && !rest.ends_with(" " + normalize_space(in.fact("courtesy"))) ? 1 : 0;
}

double refusal_reward(const RewardInput& in) {
  const std::string refusal = normalize_space(in.fact("refusal"));
  return !refusal.empty() && plain_answer(in) == refusal ? 1 : 0;
}

double length(const RewardInput& in) { return static_cast<double>(in.tokens); }

double finished(const RewardInput& in) { return in.finished ? 1 : 0; }

double think_length(const RewardInput& in) {
  const std::string_view thought = parse_response(in.prompt, in.response).thought;
  double words = 0;
  bool inside = false;
  for (size_t i = 0; i < thought.size();) {
    const auto b = static_cast<uint8_t>(thought[i]);
    const size_t length = b < 0xC0 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
    const bool space = b <= 0x20;
    const bool han = length == 3 && count_words(thought.substr(i, 3)).zh == 1;
    if (han || (!space && !inside)) ++words;
    inside = !space && !han;
    i += length;
  }
  return words;
}

const std::vector<std::string>& rule_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const Rule& r : kRules) out.emplace_back(r.name);
    return out;
  }();
  return names;
}

bool compares_with_answers(std::string_view rule) {
  return rule == "accuracy" || rule == "exact" || rule == "math" || rule == "choice";
}

std::optional<double> rule_value(std::string_view name, const RewardInput& in) {
  for (const Rule& r : kRules)
    if (name == r.name) return r.value(in);
  if (const auto call = rule_call_value(name, in)) return call;
  if (in.facts == nullptr) return std::nullopt;
  if (const auto it = in.facts->find(std::string(name)); it != in.facts->end())
    if (const auto flag = zero_or_one(it->second)) return flag;
  bool known = false;  // several facts may spell the name: with kind_a and kind, kind_a_b is one of either
  for (const auto& [key, value] : *in.facts) {
    std::string_view wanted;
    if (key == "domain" && (name == "reasoning" || name == "general"))
      wanted = name;
    else if (name.size() > key.size() + 1 && name.starts_with(key) && name[key.size()] == '_')
      wanted = name.substr(key.size() + 1);
    else
      continue;
    if (wanted == value) return 1;
    known = true;
  }
  return known ? std::optional<double>(0) : std::nullopt;
}

double rule_or_flag(const std::string& name, const RewardInput& in) {
  if (is_program_call(name)) throw failure(fmt::format("{} is a program, which only a judge asks", name));
  if (const auto value = rule_value(name, in)) return *value;
  if (in.facts != nullptr)
    if (const auto fact = in.facts->find(name); fact != in.facts->end()) throw failure(not_a_number(name, fact->second));
  return 0;
}

std::string fact_complaint(const RewardExpression& expression, const std::vector<std::string>& models, const Facts& facts) {
  const auto is = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  RewardInput in;
  in.facts = &facts;
  for (const std::string& name : expression.variables()) {
    if (is(rule_names(), name) || is(models, name)) continue;
    const auto fact = facts.find(name);
    if (fact != facts.end() && !rule_value(name, in)) return not_a_number(name, fact->second);
  }
  return "";
}

std::vector<std::string> flag_names(const std::map<std::string, std::set<std::string>>& fact_values) {
  std::set<std::string> out;
  const auto word = [](const std::string& s) {
    return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    });
  };
  for (const auto& [key, values] : fact_values) {
    if (!word(key) || key == "answers") continue;
    for (const std::string& value : values) {
      if (zero_or_one(value))
        out.insert(key);
      else if (word(value))
        out.insert(key + "_" + value);
    }
    if (key == "domain") out.insert({"reasoning", "general"});
  }
  return {out.begin(), out.end()};
}

}  // namespace r1
