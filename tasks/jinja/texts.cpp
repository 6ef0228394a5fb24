#include "tasks/jinja/texts.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <utility>
#include <vector>

#include "tasks/jinja/arguments.h"
#include "tasks/jinja/template.h"

namespace r1::jinja {

using VKind = Value::Kind;

namespace {

void check_size(const std::string& text) {
  if (text.size() > kMaxOutput) refuse(fmt::format("a text of more than {} MiB", kMaxOutput >> 20));
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f'); }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

// Knuth, Morris and Pratt. memmem is linear too, but AddressSanitizer looks at all of the text at every call.
size_t find_text(const std::string& text, const std::string& what, size_t from) {
  const size_t n = what.size();
  if (n <= 1) return text.find(what, from);
  std::vector<size_t> border(n, 0);  // of what[0..i]: how much of its beginning it ends with
  for (size_t i = 1, k = 0; i < n; border[i++] = k) {
    while (k > 0 && what[i] != what[k]) k = border[k - 1];
    if (what[i] == what[k]) ++k;
  }
  for (size_t i = from, k = 0; i < text.size(); ++i) {
    while (k > 0 && text[i] != what[k]) k = border[k - 1];
    if (text[i] == what[k]) ++k;
    if (k == n) return i + 1 - n;
  }
  return std::string::npos;
}

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
  const std::vector<std::string> parts = characters(s);
  const bool blanks = chars == nullptr || chars->is(VKind::none);
  std::unordered_set<std::string> set;
  if (!blanks)
    for (std::string& c : characters(text_of(*chars))) set.insert(std::move(c));
  const auto goes = [&](const std::string& c) {
    if (blanks)
      return (c.size() == 1 && is_space(c[0])) || c == "\u00A0" || c == "\u3000" || c == "\u2028" || c == "\u2029" ||
             c == "\u0085";
    return set.contains(c);
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
    for (const std::string& c : characters(s)) {
      if (most != 0) out += to;
      if (most != 0) --most;
      out += c;
      check_size(out);
    }
    return bounded(out + (most != 0 ? to : ""));
  }
  for (size_t hit; most != 0 && (hit = find_text(s, from, at)) != std::string::npos; at = hit + from.size(), --most) {
    out.append(s, at, hit - at).append(to);
    check_size(out);
  }
  return out + s.substr(at);
}

namespace {

List split_at(const std::string& s, const std::string& by, int64_t most) {
  List out;
  size_t at = 0;
  for (size_t hit; most != 0 && (hit = find_text(s, by, at)) != std::string::npos; at = hit + by.size(), --most)
    out.emplace_back(s.substr(at, hit - at));
  out.emplace_back(s.substr(at));
  return out;
}

}  // namespace

List split(const std::string& s, const Value* separator, int64_t most, bool from_right) {
  List out;
  if (separator == nullptr || separator->is(VKind::none)) {
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
  if (from_right) {  // from the left of what is mirrored
    const auto mirrored = [](std::string text) {
      std::reverse(text.begin(), text.end());
      return text;
    };
    for (const Value& part : split_at(mirrored(s), mirrored(by), most)) out.emplace_back(mirrored(part.text()));
    std::reverse(out.begin(), out.end());
    return out;
  }
  return split_at(s, by, most);
}

bool affixed(const std::string& s, const Value& affix, bool front) {
  if (affix.is(VKind::list))
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
    if (new_line && (s[i] != '\n' || blank) && (!at_first || first)) {
      out += by;
      check_size(out);
    }
    new_line = s[i] == '\n';
    if (new_line) at_first = false;
    out += s[i];
  }
  return bounded(out);
}

std::string sliced(const std::string& s, int64_t begin, int64_t end, int64_t by) {
  std::vector<size_t> starts;  // of characters, and the end
  for (size_t i = 0; i < s.size(); ++i)
    if (i == 0 || (static_cast<unsigned char>(s[i]) & 0xC0) != 0x80) starts.push_back(i);
  starts.push_back(s.size());
  std::string out;
  for (int64_t i = begin; by > 0 ? i < end : i > end; i += by) {
    const auto u = static_cast<size_t>(i);
    out.append(s, starts[u], starts[u + 1] - starts[u]);
  }
  return out;
}

int64_t length(const Value& v) {
  if (v.is(VKind::text))
    return std::count_if(v.text().begin(), v.text().end(),
                         [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }) +
           (!v.text().empty() && (static_cast<unsigned char>(v.text()[0]) & 0xC0) == 0x80 ? 1 : 0);
  if (v.is(VKind::list)) return static_cast<int64_t>(v.list().size());
  if (v.is(VKind::dict)) return static_cast<int64_t>(v.dict().size());
  return static_cast<int64_t>(v.items().size());  // none, or refused
}

}  // namespace r1::jinja
