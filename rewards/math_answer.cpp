#include "rewards/math_answer.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <utility>
#include <vector>

#include "rewards/math/compare.h"
#include "rewards/math/evaluate.h"
#include "rewards/math/lexer.h"
#include "rewards/math/number.h"
#include "rewards/math/parser.h"
#include "rewards/math/worked_out.h"

namespace r1 {

namespace {

constexpr size_t kTail = 4000;  // how far from the end the last expression is looked for

bool digit(char c) { return c >= '0' && c <= '9'; }
bool alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && space(s.front())) s.remove_prefix(1);
  while (!s.empty() && space(s.back())) s.remove_suffix(1);
  return s;
}

// Without ** around it, mathematics delimiters, a leading colon and a final point.
std::string_view bare(std::string_view s) {
  for (size_t before = s.size() + 1; before != s.size();) {
    before = s.size();
    s = trimmed(s);
    while (s.starts_with('*') || s.starts_with(':') || s.starts_with('`')) s.remove_prefix(1);
    while (s.ends_with('*') || s.ends_with('`') || s.ends_with(',') || s.ends_with(';')) s.remove_suffix(1);
    if (s.ends_with('.')) s.remove_suffix(1);
    for (const auto& [open, close] :
         {std::pair<std::string_view, std::string_view>{"$$", "$$"}, {"$", "$"}, {"\\(", "\\)"}, {"\\[", "\\]"}})
      if (s.size() > open.size() + close.size() && s.starts_with(open) && s.ends_with(close) &&
          s.substr(open.size(), s.size() - open.size() - close.size()).find(open) == std::string_view::npos) {
        s.remove_prefix(open.size());
        s.remove_suffix(close.size());
      }
  }
  return s;
}

std::string without_space(std::string_view s) {
  std::string out;
  std::copy_if(s.begin(), s.end(), std::back_inserter(out), [](char c) { return !space(c); });
  return out;
}

// The content of the last \boxed{...} that begins last; one that is never closed counts where none is.
std::optional<std::string_view> last_box(std::string_view s) {
  struct Open {
    size_t at;
    bool box;
  };
  std::vector<Open> open;
  std::optional<std::string_view> best;
  size_t best_at = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\\') {
      for (const std::string_view box : {"\\boxed", "\\fbox"}) {
        if (!s.substr(i).starts_with(box)) continue;
        size_t brace = i + box.size();
        while (brace < s.size() && s[brace] == ' ') ++brace;
        if (brace == s.size() || s[brace] != '{') continue;
        open.push_back({brace, true});
        i = brace;
        break;
      }
      if (s[i] == '\\') ++i;  // \{ and \} are no braces
    } else if (s[i] == '{') {
      open.push_back({i, false});
    } else if (s[i] == '}' && !open.empty()) {
      const Open o = open.back();
      open.pop_back();
      if (o.box && (!best || o.at > best_at)) {
        best = s.substr(o.at + 1, i - o.at - 1);
        best_at = o.at;
      }
    }
  }
  if (best) return best;
  for (const Open& o : open)
    if (o.box) best = s.substr(o.at + 1);
  return best && !trimmed(*best).empty() ? best : std::nullopt;
}

// To the end of the sentence: a line end, or a point that ends a word or number.
std::string_view sentence(std::string_view s) {
  size_t end = 0;
  while (end < s.size() && s[end] != '\n' && !s.substr(end).starts_with("\u3002") &&
         !((s[end] == '.' || s[end] == '!' || s[end] == '?') && (end + 1 == s.size() || space(s[end + 1])) &&
           !(s[end] == '!' && end > 0 && digit(s[end - 1]))))
    ++end;
  return s.substr(0, end);
}

bool reads_as_answer(std::string_view s) {
  const auto tokens = math::tokenize(s, false);
  if (!tokens) return false;
  const auto items = math::parse_answer(*tokens);
  if (!items) return false;
  const auto is_text = [](const math::Item& i) { return i.value->kind == math::Kind::text; };
  const auto prose = [](const math::Item& i) {  // "$84$, as claimed" reads as a s, in units of "claimed"
    math::Contents c;
    c.look(*i.value);
    return !i.unit.empty() && !c.symbols.empty();
  };
  if (std::any_of(items->begin(), items->end(), prose)) return false;
  return std::none_of(items->begin(), items->end(), is_text) || (items->size() == 1 && std::count(s.begin(), s.end(), ' ') < 4);
}

// The first or last stretch of mathematics in prose: what stands between delimiters, or a run of words that have digits or
// operators in them.
std::optional<std::string_view> expression_in(std::string_view s, bool last) {
  std::optional<std::string_view> found;
  size_t begin = std::string_view::npos, end = 0;
  bool substance = false;  // more than an operator or a lone letter
  const auto close = [&] {
    if (begin != std::string_view::npos && substance && (last || !found)) found = s.substr(begin, end - begin);
    begin = std::string_view::npos;
    substance = false;
  };
  for (size_t i = 0; i < s.size();) {
    if (space(s[i])) {
      if (s[i] == '\n') close();
      ++i;
      continue;
    }
    size_t stop = i;
    bool delimited = false;
    for (const auto& [open, shut] :
         {std::pair<std::string_view, std::string_view>{"$$", "$$"}, {"\\(", "\\)"}, {"\\[", "\\]"}, {"$", "$"}}) {
      if (!s.substr(i).starts_with(open)) continue;
      const size_t at = s.find(shut, i + open.size());
      if (at == std::string_view::npos || at == i + open.size()) continue;
      stop = at + shut.size();
      delimited = true;
      break;
    }
    if (delimited) {
      close();
      if (last || !found) found = s.substr(i, stop - i);
      i = stop;
      continue;
    }
    int depth = 0;  // brackets hold a word together: (3, 4), \frac{ 1 }{ 2 }
    while (stop < s.size() && s[stop] != '\n' && (depth > 0 || !space(s[stop]))) {
      if (s[stop] == '(' || s[stop] == '{' || s[stop] == '[') ++depth;
      if (s[stop] == ')' || s[stop] == '}' || s[stop] == ']') --depth;
      ++stop;
    }
    std::string_view word = s.substr(i, stop - i);
    const bool pauses = word.size() > 1 && (word.back() == ',' || word.back() == '.' || word.back() == ';' ||
                                            word.back() == ':' || word.back() == '?');
    if (pauses) word.remove_suffix(1);
    const bool has_digit = std::any_of(word.begin(), word.end(), digit);
    size_t letters = 0, longest = 0, run = 0;
    for (size_t k = 0; k < word.size(); ++k) {
      const bool command = word[k] == '\\';
      if (command)
        while (k + 1 < word.size() && alpha(word[k + 1])) ++k;
      run = !command && alpha(word[k]) ? run + 1 : 0;
      letters += run > 0;
      longest = std::max(longest, run);
    }
    const bool latex = word.find('\\') != std::string_view::npos;
    const bool operators = word.find_first_of("+-*/=<>^_(){}[]|") != std::string_view::npos && letters < word.size();
    const bool mathematical = latex || (longest < 4 && (has_digit || (operators && longest < 3) ||
                                                        (word.size() == 1 && alpha(word[0]) && word != "a" && word != "I")));
    if (mathematical) {
      if (begin == std::string_view::npos) begin = i;
      end = i + word.size();
      substance |= has_digit || latex || (operators && word.size() > 1);
      if (pauses) close();
    } else {
      close();
    }
    i = stop;
  }
  close();
  return found;
}

// Where the text after the last "answer is" or "answer:" begins.
std::optional<size_t> after_answer(std::string_view s) {
  std::string lower(s);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return alpha(c) ? static_cast<char>(c | 0x20) : c; });
  std::optional<size_t> best;
  const auto mark = [&](std::string_view word, auto... follow) {
    for (size_t at = lower.rfind(word); at != std::string::npos; at = at == 0 ? std::string::npos : lower.rfind(word, at - 1)) {
      if (best && at < *best) return;
      size_t next = at + word.size();
      while (next < lower.size() && (lower[next] == '*' || lower[next] == ' ' || lower[next] == '_')) ++next;
      for (const std::string_view f : {std::string_view(follow)...})
        if (std::string_view(lower).substr(next).starts_with(f)) {
          best = next + f.size();
          return;
        }
    }
  };
  mark("answer", "is ", "is:", "is\n", "is**", ":", "would be ", "=", "\uFF1A");
  mark("\u7B54\u6848", "\u662F", "\u4E3A", ":", "\uFF1A");  // the answer is, in Chinese
  return best;
}

}  // namespace

std::optional<std::string> extract_math_answer(std::string_view text) {
  if (const auto box = last_box(text)) return std::string(trimmed(*box));
  if (const size_t at = text.rfind("####"); at != std::string_view::npos) {
    const std::string_view rest = trimmed(text.substr(at + 4));
    if (const auto line = bare(rest.substr(0, rest.find('\n'))); !line.empty()) return std::string(line);
  }
  if (const auto at = after_answer(text)) {
    std::string_view rest = text.substr(*at);
    while (!rest.empty() && (space(rest.front()) || rest.front() == ':' || rest.front() == '*')) rest.remove_prefix(1);
    if (rest.starts_with("\\[") || rest.starts_with("$$"))
      if (const size_t close = rest.find(rest[0] == '$' ? "$$" : "\\]", 2); close != std::string_view::npos)
        return std::string(trimmed(rest.substr(2, close - 2)));
    const std::string_view said = bare(sentence(rest));
    if (!said.empty()) {
      if (reads_as_answer(said)) return std::string(said);
      if (const auto found = expression_in(said, false)) return std::string(bare(*found));
      return std::string(said);
    }
  }
  const std::string_view tail = text.size() > kTail ? text.substr(text.size() - kTail) : text;
  if (const auto found = expression_in(tail, true)) return std::string(bare(*found));
  const std::string_view word = bare(text);
  if (!word.empty() && word.size() < 40 && std::none_of(word.begin(), word.end(), space)) return std::string(word);
  return std::nullopt;
}

bool math_equal(std::string_view answer, std::string_view accepted) {
  answer = bare(answer);
  accepted = bare(accepted);
  if (answer.empty() || accepted.empty()) return false;
  if (answer.size() > math::kMaxAnswerBytes || accepted.size() > math::kMaxAnswerBytes) return answer == accepted;
  math::free_caches_with_thread();
  const auto spelling = [](const std::vector<math::Token>& tokens) {
    std::string out;
    for (size_t k = 0; k < tokens.size(); ++k) {
      const math::Token& t = tokens[k];
      // Braces around a single token say nothing.
      if ((t.is("{") && k + 2 < tokens.size() && tokens[k + 2].is("}")) || (t.is("}") && k >= 2 && tokens[k - 2].is("{")))
        continue;
      const bool words = t.type == math::Token::Type::word || t.type == math::Token::Type::quoted;
      out += (words ? "\"" : " ") + t.text;
    }
    return out;
  };
  // 1,234 is read as a number and as a list: equal is what is equal in one reading.
  const bool groups = math::has_comma_groups(answer) || math::has_comma_groups(accepted);
  for (const bool mine : {false, true}) {
    for (const bool theirs : {false, true}) {
      if ((mine || theirs) && !groups) continue;
      const auto a = math::tokenize(answer, mine), b = math::tokenize(accepted, theirs);
      if (!a || !b || a->size() < 2 || b->size() < 2) continue;
      const auto x = math::parse_answer(*a), y = math::parse_answer(*b);
      if (x && y ? math::same_answer(*x, *y) : spelling(*a) == spelling(*b)) return true;
      // What has no value that we can compute is the same where it is written the same; a division by zero is nothing.
      if (x && y && x->size() == 1 && y->size() == 1 && spelling(*a) == spelling(*b) &&
          answer.find("/0") == std::string_view::npos)
        return true;
    }
  }
  return false;
}

bool math_accepts(std::string_view answer, std::string_view accepted, std::string_view question) {
  if (!math_equal(answer, accepted)) return false;
  answer = bare(answer);
  accepted = bare(accepted);
  if (std::max(answer.size(), accepted.size()) > math::kMaxAnswerBytes) return true;
  const auto items = [](std::string_view text) {
    const auto tokens = math::tokenize(text, true);
    return tokens ? math::parse_answer(*tokens) : std::nullopt;
  };
  const auto said = items(answer), wanted = items(accepted);
  if (!said || !wanted) return true;
  if (math::left_to_compute(*said, *wanted)) return false;
  const std::string spelled = without_space(answer);
  return !math::has_operation(*said, *wanted) || spelled == without_space(accepted) ||
         without_space(question).find(spelled) == std::string::npos;
}

}  // namespace r1
