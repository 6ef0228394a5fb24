#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "tasks/jinja/syntax.h"

namespace r1::jinja {

namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

constexpr std::array<std::string_view, 6> kLongOperators = {"**", "//", "==", "!=", "<=", ">="};
constexpr std::string_view kOperators = "+-*/%~<>=.,:|()[]{}";

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& name) : name_(name) {
    // As Python's: line ends become \n; one at the very end is not part of the template.
    source_.reserve(source.size());
    for (size_t i = 0; i < source.size(); ++i) {
      if (source[i] != '\r')
        source_ += source[i];
      else if (i + 1 == source.size() || source[i + 1] != '\n')
        source_ += '\n';
    }
    if (source_.ends_with('\n')) source_.pop_back();
  }

  std::vector<Token> tokens() {
    while (at_ < source_.size()) outside();
    push(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw bad_input("chat template: " + what, {name_, line_}); }
  void push(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  bool next_is(std::string_view word) const { return std::string_view(source_).substr(at_).starts_with(word); }
  void advance(size_t n) {
    line_ += static_cast<int>(
        std::count(source_.begin() + static_cast<long>(at_), source_.begin() + static_cast<long>(at_ + n), '\n'));
    at_ += n;
  }
  void skip_space() {
    while (at_ < source_.size() && is_blank(source_[at_])) advance(1);
  }

  // Text up to the next tag, then the tag.
  void outside() {
    size_t tag = at_;
    while (tag < source_.size() && !(source_[tag] == '{' && tag + 1 < source_.size() &&
                                     (source_[tag + 1] == '{' || source_[tag + 1] == '%' || source_[tag + 1] == '#')))
      ++tag;
    std::string text = source_.substr(at_, tag - at_);
    if (tag == source_.size()) {
      if (!text.empty()) push(Token::Kind::text, text);
      at_ = tag;
      return;
    }
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (sign == '-') {
      while (!text.empty() && is_blank(text.back())) text.pop_back();
    } else if (sign != '+' && kind != '{') {
      // lstrip_blocks: what stands before a block or a comment on its line goes, if it is blank.
      const size_t line_start = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
      if ((line_start > 0 || at_line_start_) && std::all_of(text.begin() + static_cast<long>(line_start), text.end(), is_blank))
        text.resize(line_start);
    }
    if (!text.empty()) push(Token::Kind::text, std::move(text));
    advance(tag - at_ + 2);
    if (kind == '#') return comment();
    if (sign == '-' || sign == '+') advance(1);
    if (kind == '%' && raw()) return;
    push(kind == '{' ? Token::Kind::output_begin : Token::Kind::block_begin, "");
    inside(kind == '{' ? "}}" : "%}");
  }

  // After a tag's end: `-` takes the blanks that follow; a block's or a comment's newline goes (trim_blocks).
  void after_tag(bool strip, bool trim) {
    at_line_start_ = false;
    if (strip) {
      const size_t before = at_;
      skip_space();
      at_line_start_ = at_ > before && source_[at_ - 1] == '\n';
    } else if (trim && at_ < source_.size() && source_[at_] == '\n') {
      advance(1);
      at_line_start_ = true;
    }
  }

  void comment() {
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail("a comment '{#' has no end '#}'");
    const bool strip = end > at_ && source_[end - 1] == '-', keep = end > at_ && source_[end - 1] == '+';
    advance(end + 2 - at_);
    after_tag(strip, !keep);
  }

  // {% raw %} ... {% endraw %}: text as it stands.
  bool raw() {
    size_t i = at_;
    const auto blanks = [&] {
      while (i < source_.size() && is_blank(source_[i])) ++i;
    };
    blanks();
    if (!std::string_view(source_).substr(i).starts_with("raw")) return false;
    i += 3;
    blanks();
    if (!std::string_view(source_).substr(i).starts_with("%}") && !std::string_view(source_).substr(i).starts_with("-%}"))
      return false;
    const bool strip_begin = source_[i] == '-';
    advance(i + (strip_begin ? 3 : 2) - at_);
    after_tag(strip_begin, true);
    for (size_t end = source_.find("{%", at_); end != std::string::npos; end = source_.find("{%", end + 2)) {
      size_t j = end + 2;
      const bool strip_text = j < source_.size() && source_[j] == '-';
      if (strip_text) ++j;
      while (j < source_.size() && is_blank(source_[j])) ++j;
      if (!std::string_view(source_).substr(j).starts_with("endraw")) continue;
      j += 6;
      while (j < source_.size() && is_blank(source_[j])) ++j;
      const bool strip = j < source_.size() && source_[j] == '-';
      if (strip) ++j;
      if (!std::string_view(source_).substr(j).starts_with("%}")) continue;
      std::string text = source_.substr(at_, end - at_);
      if (strip_text)
        while (!text.empty() && is_blank(text.back())) text.pop_back();
      if (!text.empty()) push(Token::Kind::text, std::move(text));
      advance(j + 2 - at_);
      after_tag(strip, true);
      return true;
    }
    fail("'{% raw %}' has no '{% endraw %}'");
  }

  void inside(std::string_view end) {
    const Token::Kind end_kind = end == "}}" ? Token::Kind::output_end : Token::Kind::block_end;
    int open = 0;  // braces of dicts: `}}` may close two of them
    for (;;) {
      skip_space();
      if (at_ >= source_.size()) fail(fmt::format("the tag has no end '{}'", end));
      const bool strip = source_[at_] == '-', keep = source_[at_] == '+';
      if (open == 0 && (next_is(end) || ((strip || keep) && std::string_view(source_).substr(at_ + 1).starts_with(end)))) {
        advance(strip || keep ? 3 : 2);
        push(end_kind, "");
        return after_tag(strip, end_kind == Token::Kind::block_end && !keep);
      }
      const char c = source_[at_];
      if (is_letter(c)) {
        size_t i = at_;
        while (i < source_.size() && (is_letter(source_[i]) || is_digit(source_[i]))) ++i;
        push(Token::Kind::name, source_.substr(at_, i - at_));
        advance(i - at_);
      } else if (is_digit(c)) {
        number();
      } else if (c == '"' || c == '\'') {
        string(c);
      } else {
        op(open);
      }
    }
  }

  void number() {
    size_t i = at_;
    const auto digits = [&] {
      while (i < source_.size() && (is_digit(source_[i]) || source_[i] == '_')) ++i;
    };
    digits();
    if (i + 1 < source_.size() && source_[i] == '.' && is_digit(source_[i + 1])) {
      ++i;
      digits();
    }
    if (i < source_.size() && (source_[i] == 'e' || source_[i] == 'E')) {
      size_t j = i + 1;
      if (j < source_.size() && (source_[j] == '+' || source_[j] == '-')) ++j;
      if (j < source_.size() && is_digit(source_[j])) {
        i = j;
        digits();
      }
    }
    std::string text = source_.substr(at_, i - at_);
    std::erase(text, '_');
    push(Token::Kind::number, std::move(text));
    advance(i - at_);
  }

  void string(char quote) {
    std::string text;
    size_t i = at_ + 1;
    for (;; ++i) {
      if (i >= source_.size()) fail("a text has no closing quote");
      const char c = source_[i];
      if (c == quote) break;
      if (c != '\\' || i + 1 >= source_.size()) {
        text += c;
        continue;
      }
      const char e = source_[++i];
      switch (e) {
        case 'n':
          text += '\n';
          break;
        case 't':
          text += '\t';
          break;
        case 'r':
          text += '\r';
          break;
        case '\n':
          break;
        case '\\':
        case '\'':
        case '"':
          text += e;
          break;
        case 'u':
        case 'x':
          i = code_point(i, e == 'u' ? 4 : 2, text);
          break;
        default:
          text += '\\';
          text += e;
      }
    }
    push(Token::Kind::string, std::move(text));
    advance(i + 1 - at_);
  }

  // \uXXXX or \xXX; `i` is at the letter. Returns the last index used.
  size_t code_point(size_t i, size_t digits, std::string& text) const {
    uint32_t code = 0;
    for (size_t k = 1; k <= digits; ++k) {
      const char c = i + k < source_.size() ? source_[i + k] : '\0';
      const int v = is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (v < 0) fail("a text has a broken \\u escape");
      code = code * 16 + static_cast<uint32_t>(v);
    }
    if (code >= 0xD800 && code < 0xE000) fail("a text has half a surrogate pair");
    if (code < 0x80) {
      text += static_cast<char>(code);
    } else if (code < 0x800) {
      text += static_cast<char>(0xC0 | code >> 6);
      text += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      text += static_cast<char>(0xE0 | code >> 12);
      text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
      text += static_cast<char>(0x80 | (code & 0x3F));
    }
    return i + digits;
  }

  void op(int& open) {
    for (const std::string_view word : kLongOperators)
      if (next_is(word)) {
        push(Token::Kind::op, std::string(word));
        return advance(2);
      }
    const char c = source_[at_];
    if (kOperators.find(c) == std::string_view::npos) fail(fmt::format("unexpected character '{}'", c));
    if (c == '{' || c == '[' || c == '(') ++open;
    if ((c == '}' || c == ']' || c == ')') && open > 0) --open;
    push(Token::Kind::op, std::string(1, c));
    advance(1);
  }

  const std::string& name_;
  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const std::string& name_for_errors) {
  return Lexer(source, name_for_errors).tokens();
}

}  // namespace r1::jinja
