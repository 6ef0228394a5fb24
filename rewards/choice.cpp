#include "rewards/choice.h"

#include <algorithm>
#include <cctype>

#include "rewards/math_answer.h"
#include "rewards/response.h"

namespace r1 {

namespace {

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
char upper(char c) { return static_cast<char>(std::toupper(static_cast<unsigned char>(c))); }

// Without LaTeX's text commands, brackets and emphasis in front.
std::string_view unwrapped(std::string_view s) {
  for (size_t before = s.size() + 1; before != s.size();) {
    before = s.size();
    s = trim(s);
    for (const std::string_view front : {"\\text{", "\\textbf{", "\\mathbf{", "\\mathrm{", "\\boxed{", "(", "[", "{", "*", "$",
                                         ":", "_", "option ", "Option "})
      if (s.starts_with(front)) s.remove_prefix(front.size());
  }
  return s;
}

std::string folded(std::string_view s) {
  std::string out = normalize_space(s);
  std::transform(out.begin(), out.end(), out.begin(), upper);
  while (!out.empty() && (out.back() == '.' || out.back() == '*' || out.back() == '}' || out.back() == '$')) out.pop_back();
  return out;
}

// The letter that a text opens with: alone, or set off from what follows.
std::optional<char> leading_letter(std::string_view text) {
  const std::string_view s = unwrapped(text);
  if (s.empty() || !letter(s[0])) return std::nullopt;
  if (s.size() == 1) return upper(s[0]);
  if (std::string_view(".):],;*}$").find(s[1]) != std::string_view::npos) return upper(s[0]);
  const std::string_view rest = trim(s.substr(1));
  if (s[1] == ' ' &&
      (rest.empty() || rest == "." || rest.starts_with("(") || rest.starts_with("-") || rest.starts_with("because")))
    return upper(s[0]);
  return std::nullopt;
}

std::optional<char> option_of(std::string_view text, const std::vector<std::string>& options) {
  const std::string wanted = folded(unwrapped(text));
  for (size_t k = 0; k < options.size() && k < 26; ++k)
    if (folded(options[k]) == wanted) return static_cast<char>('A' + k);
  return std::nullopt;
}

}  // namespace

std::optional<char> chosen_letter(std::string_view response, const std::vector<std::string>& options) {
  const std::string text = final_answer(response);
  // The only letter in brackets of the text: "so it must be (C)".
  std::optional<char> only;
  bool several = false;
  for (size_t k = 0; k + 2 < text.size(); ++k) {
    if (text[k] != '(' || !(text[k + 1] >= 'A' && text[k + 1] <= 'Z') || text[k + 2] != ')') continue;
    if (only && *only != text[k + 1]) several = true;
    only = text[k + 1];
  }
  const bool said = text.find("\\boxed") != std::string::npos || text.find("nswer") != std::string::npos;
  if (several && !said) return std::nullopt;
  std::vector<std::string> places;
  if (const auto answer = said ? extract_math_answer(text) : std::nullopt) places.push_back(*answer);
  places.push_back(text);
  for (const std::string& place : places) {
    if (const auto option = option_of(place, options)) return option;
    if (const auto found = leading_letter(place);
        found && (options.empty() || static_cast<size_t>(*found - 'A') < options.size()))
      return found;
  }
  return several ? std::nullopt : only;
}

double choice_reward(const RewardInput& in) {
  const std::vector<std::string> options = split_answers(in.fact("options"));
  const auto chosen = chosen_letter(in.response, options);
  if (!chosen) return 0;
  for (const std::string& accepted : split_answers(in.fact("answers"))) {
    auto right = option_of(accepted, options);
    if (!right) right = leading_letter(accepted);
    if (right == chosen) return 1;
  }
  return 0;
}

}  // namespace r1
