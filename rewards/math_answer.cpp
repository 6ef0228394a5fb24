#include "rewards/math_answer.h"

#include <cctype>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace r1 {

namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }

void replace_all(std::string& s, std::string_view from, std::string_view to) {
  for (size_t at = s.find(from); at != std::string::npos; at = s.find(from, at + to.size())) s.replace(at, from.size(), to);
}

// The content of the brace group that opens at s[open] == '{', or nullopt when it is never closed.
std::optional<std::string_view> group(std::string_view s, size_t open) {
  int depth = 0;
  for (size_t i = open; i < s.size(); ++i) {
    if (s[i] == '{') ++depth;
    if (s[i] == '}' && --depth == 0) return s.substr(open + 1, i - open - 1);
  }
  return std::nullopt;
}

// \command12 -> \command{1}{2}; \command{..}{..} stays.
void brace_arguments(std::string& s, std::string_view command, int arguments) {
  for (size_t at = s.find(command); at != std::string::npos; at = s.find(command, at)) {
    at += command.size();
    for (int k = 0; k < arguments && at < s.size(); ++k) {
      if (s[at] == '{') {
        const auto inner = group(s, at);
        if (!inner) return;
        at += inner->size() + 2;
      } else if (std::isalnum(static_cast<unsigned char>(s[at]))) {
        s.insert(at + 1, "}");
        s.insert(at, "{");
        at += 3;
      } else {
        break;
      }
    }
  }
}

std::optional<double> plain_number(std::string s) {
  std::erase(s, ',');
  double scale = 1;
  if (s.ends_with("\\%"))
    s.resize(s.size() - 2), scale = 0.01;
  else if (s.ends_with("%"))
    s.pop_back(), scale = 0.01;
  if (s.empty()) return std::nullopt;
  for (const char c : s)
    if (!digit(c) && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E') return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(s.c_str(), &end);
  if (end != s.c_str() + s.size() || !std::isfinite(value)) return std::nullopt;
  return value * scale;
}

std::optional<double> number(const std::string& s) {
  if (const auto n = plain_number(s)) return n;
  std::string_view rest = s;
  const bool negative = rest.starts_with("-");
  if (negative) rest.remove_prefix(1);
  if (!rest.starts_with("\\frac{")) return std::nullopt;
  const auto top = group(rest, 5);
  if (!top) return std::nullopt;
  const size_t second = 5 + top->size() + 2;
  if (second >= rest.size() || rest[second] != '{') return std::nullopt;
  const auto bottom = group(rest, second);
  if (!bottom || second + bottom->size() + 2 != rest.size()) return std::nullopt;
  const auto a = plain_number(std::string(*top)), b = plain_number(std::string(*bottom));
  if (!a || !b || *b == 0) return std::nullopt;
  return (negative ? -1 : 1) * *a / *b;
}

}  // namespace

std::optional<std::string> extract_math_answer(std::string_view text) {
  for (size_t at = text.rfind("\\boxed"); at != std::string_view::npos;
       at = at == 0 ? std::string_view::npos : text.rfind("\\boxed", at - 1)) {
    size_t open = at + 6;
    while (open < text.size() && text[open] == ' ') ++open;
    if (open < text.size() && text[open] == '{')
      if (const auto inner = group(text, open)) return std::string(*inner);
  }
  constexpr std::string_view said = "answer is";
  if (size_t at = text.rfind(said); at != std::string_view::npos) {
    at += said.size();
    if (at < text.size() && text[at] == ':') ++at;
    size_t end = at;
    while (end < text.size() && text[end] != '\n' &&
           !(text[end] == '.' && (end + 1 == text.size() || text[end + 1] == ' ' || text[end + 1] == '\n')))
      ++end;
    std::string answer(text.substr(at, end - at));
    if (!normalize_math(answer).empty()) return answer;
  }
  size_t end = text.size();
  while (end > 0 && !digit(text[end - 1])) --end;
  if (end == 0) return std::nullopt;
  size_t begin = end;
  while (begin > 0 && (digit(text[begin - 1]) ||
                       ((text[begin - 1] == '.' || text[begin - 1] == ',') && begin > 1 && digit(text[begin - 2]))))
    --begin;
  if (begin > 0 && text[begin - 1] == '-') --begin;
  return std::string(text.substr(begin, end - begin));
}

std::string normalize_math(std::string_view answer) {
  std::string s(answer);
  for (const char* gone :
       {"\\left", "\\right", "\\!", "\\,", "\\;", "\\ ", "^\\circ", "^{\\circ}", "\\circ", "$", "\n", "\r", "\t", " "})
    replace_all(s, gone, "");
  for (const char* fraction : {"\\tfrac", "\\dfrac", "\\cfrac"}) replace_all(s, fraction, "\\frac");
  for (const char* wrap : {"\\text{", "\\mathrm{", "\\mbox{"}) {
    for (size_t at = s.find(wrap); at != std::string::npos; at = s.find(wrap, at)) {
      const std::string_view command(wrap);
      const auto inner = group(s, at + command.size() - 1);
      if (!inner) break;
      // A unit after the value goes; an answer that is only text stays.
      const std::string keep = at == 0 ? std::string(*inner) : std::string();
      s.replace(at, command.size() + inner->size() + 1, keep);
    }
  }
  while (!s.empty() && s.back() == '.') s.pop_back();
  brace_arguments(s, "\\frac", 2);
  brace_arguments(s, "\\sqrt", 1);
  if (const size_t slash = s.find('/'); slash != std::string::npos && slash > 0 && slash + 1 < s.size()) {
    const bool negative = s[0] == '-';
    const std::string top = s.substr(negative, slash - negative), bottom = s.substr(slash + 1);
    if (plain_number(top) && plain_number(bottom)) s = (negative ? "-" : "") + ("\\frac{" + top + "}{" + bottom + "}");
  }
  if (s.size() > 4 && s.ends_with(".000")) s.resize(s.size() - 4);
  if (s.starts_with(".")) s.insert(0, "0");
  if (s.starts_with("-.")) s.insert(1, "0");
  return s;
}

bool math_equal(std::string_view a, std::string_view b) {
  const std::string x = normalize_math(a), y = normalize_math(b);
  if (x.empty() || y.empty()) return false;
  if (x == y) return true;
  const auto m = number(x), n = number(y);
  if (!m || !n) return false;
  return std::abs(*m - *n) <= 1e-9 * std::max(1.0, std::max(std::abs(*m), std::abs(*n)));
}

}  // namespace r1
