#include "tasks/jinja/texts.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tasks/jinja/arguments.h"
#include "tasks/jinja/template.h"

namespace r1::jinja {

using Kind = Value::Kind;

namespace {

void check_size(const std::string& text) {
  if (text.size() > kMaxOutput) refuse(fmt::format("a text of more than {} MiB", kMaxOutput >> 20));
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f'); }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

std::string bounded(std::string text) {
  check_size(text);
  return text;
}

std::string uppered(std::string s) {
  std::transform(s.begin(), s.end(), s.begin(), upper);
  return s;
}
std::string lowered(std::string s) {
  std::transform(s.begin(), s.end(), s.begin(), lower);
  return s;
}
std::string capitalized(std::string s) {
  s = lowered(std::move(s));
  if (!s.empty()) s[0] = upper(s[0]);
  return s;
}
std::string titled(std::string s) {
  bool start = true;
  for (char& c : s) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80;
    c = start ? upper(c) : lower(c);
    start = !letter;
  }
  return s;
}

std::string stripped(const std::string& s, const Value* chars, int side) {
  std::vector<std::string> parts = characters(s), set;
  const bool blanks = chars == nullptr || chars->is(Kind::none);
  if (!blanks) set = characters(text_of(*chars));
  const auto goes = [&](const std::string& c) {
    if (blanks)
      return (c.size() == 1 && is_space(c[0])) || c == "\u00A0" || c == "\u3000" || c == "\u2028" || c == "\u2029" ||
             c == "\u0085";
    return std::find(set.begin(), set.end(), c) != set.end();
  };
  size_t begin = 0, end = parts.size();
  if (side <= 0)
    while (begin < end && goes(parts[begin])) ++begin;
  if (side >= 0)
    while (end > begin && goes(parts[end - 1])) --end;
  std::string out;
  for (size_t i = begin; i < end; ++i) out += parts[i];
  return out;
}

std::string replaced(const std::string& s, const std::string& from, const std::string& to, int64_t most) {
  std::string out;
  size_t at = 0;
  if (from.empty()) {
    for (const std::string& c : characters(s)) out += (most-- != 0 ? to : "") + c;
    return bounded(out + (most != 0 ? to : ""));
  }
  for (size_t hit; most != 0 && (hit = s.find(from, at)) != std::string::npos; at = hit + from.size(), --most) {
    out.append(s, at, hit - at).append(to);
    check_size(out);
  }
  return out + s.substr(at);
}

List split(const std::string& s, const Value* separator, int64_t most, bool from_right) {
  List out;
  if (separator == nullptr || separator->is(Kind::none)) {
    std::string word;
    for (size_t i = 0; i <= s.size(); ++i) {
      if (i < s.size() && !is_space(s[i])) {
        if (word.empty() && most >= 0 && static_cast<int64_t>(out.size()) == most) {
          out.emplace_back(stripped(s.substr(i), nullptr, 1));
          return out;
        }
        word += s[i];
      } else if (!word.empty()) {
        out.emplace_back(std::exchange(word, {}));
      }
    }
    return out;
  }
  const std::string by = text_of(*separator);
  if (by.empty()) refuse("split expects a separator that is not empty");
  if (!from_right) {
    size_t at = 0;
    for (size_t hit; most != 0 && (hit = s.find(by, at)) != std::string::npos; at = hit + by.size(), --most)
      out.emplace_back(s.substr(at, hit - at));
    out.emplace_back(s.substr(at));
    return out;
  }
  size_t end = s.size();
  while (most-- != 0 && end >= by.size()) {
    const size_t hit = s.rfind(by, end - by.size());
    if (hit == std::string::npos) break;
    out.emplace_back(s.substr(hit + by.size(), end - hit - by.size()));
    end = hit;
  }
  out.emplace_back(s.substr(0, end));
  std::reverse(out.begin(), out.end());
  return out;
}

bool affixed(const std::string& s, const Value& affix, bool front) {
  if (affix.is(Kind::list))
    return std::any_of(affix.list().begin(), affix.list().end(), [&](const Value& v) { return affixed(s, v, front); });
  return front ? s.starts_with(text_of(affix)) : s.ends_with(text_of(affix));
}

std::string joined(const List& items, const std::string& by) {
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += by;
    out += items[i].str();
    check_size(out);
  }
  return out;
}

std::string indented(const std::string& s, const std::string& by, bool first, bool blank) {
  std::string out;
  bool new_line = true, at_first = true;
  for (size_t i = 0; i < s.size(); ++i) {
    if (new_line && (s[i] != '\n' || blank) && (!at_first || first)) out += by;
    new_line = s[i] == '\n';
    if (new_line) at_first = false;
    out += s[i];
  }
  return bounded(out);
}

int64_t length(const Value& v) {
  if (v.is(Kind::text)) return static_cast<int64_t>(characters(v.text()).size());
  if (v.is(Kind::dict)) return static_cast<int64_t>(v.dict().size());
  return static_cast<int64_t>(v.items().size());
}

}  // namespace r1::jinja
