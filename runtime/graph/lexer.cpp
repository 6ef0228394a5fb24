#include "runtime/graph/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "base/clipped.h"
#include "base/utf8_text.h"

namespace r1::graph {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

std::string lower(std::string_view text) {
  std::string s(text);
  for (char& c : s)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return s;
}

// Length of the number at the front of `text`, 0 if there is none.
size_t number_length(std::string_view text) {
  size_t i = 0;
  if (i < text.size() && text[i] == '-') ++i;
  const size_t whole = i;
  while (i < text.size() && is_digit(text[i])) ++i;
  const bool has_whole = i > whole;
  if (i < text.size() && text[i] == '.') {
    size_t j = i + 1;
    while (j < text.size() && is_digit(text[j])) ++j;
    if (has_whole || j > i + 1) return j;
  }
  return has_whole ? i : 0;
}

size_t word_length(std::string_view text) {
  if (text.empty() || !is_letter(text[0])) return 0;
  size_t i = 1;
  while (i < text.size() && (is_letter(text[i]) || is_digit(text[i]))) ++i;
  return i;
}

}  // namespace

bool is_keyword(std::string_view word) {
  static constexpr std::array<std::string_view, 6> kKeywords = {"node", "edge", "graph", "digraph", "subgraph", "strict"};
  return std::find(kKeywords.begin(), kKeywords.end(), lower(word)) != kKeywords.end();
}

bool is_bare_id(std::string_view text) {
  if (text.empty()) return false;
  return (word_length(text) == text.size() && !is_keyword(text)) || number_length(text) == text.size();
}

std::string quoted_string(std::string_view text) {
  std::string s = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      s += '\\', s += c;
    else if (c == '\n')
      s += "\\n";
    else if (c == '\t')
      s += "\\t";
    else
      s += c;
  }
  return s + "\"";
}

std::string quoted_id(std::string_view text) { return is_bare_id(text) ? std::string(text) : quoted_string(text); }

Lexer::Lexer(std::string_view text, std::string file) : text_(text), file_(std::move(file)) {
  if (text_.substr(0, 3) == "\xef\xbb\xbf") at_ = 3;
}

void Lexer::advance() {
  const char c = text_[at_++];
  if (c == '\n') {
    ++line_;
    column_ = 1;
  } else if (at_ >= text_.size() || (static_cast<unsigned char>(text_[at_]) & 0xc0) != 0x80) {
    ++column_;  // the next byte starts a code point
  }
}

void Lexer::skip_blanks_and_comments() {
  while (at_ < text_.size()) {
    const char c = peek();
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v') {
      advance();
    } else if (c == '/' && peek(1) == '/') {
      while (at_ < text_.size() && peek() != '\n') advance();
    } else if (c == '#') {
      while (at_ < text_.size() && peek() != '\n') advance();
    } else if (c == '/' && peek(1) == '*') {
      const Where start = here();
      advance(), advance();
      while (at_ < text_.size() && !(peek() == '*' && peek(1) == '/')) advance();
      if (at_ >= text_.size()) throw bad_input("this comment is never closed", start, "end it with */");
      advance(), advance();
    } else {
      return;
    }
  }
}

Token Lexer::read_string(Token token) {
  advance();
  while (peek() != '"') {
    if (token.text.size() > kMaxString)
      throw bad_input(fmt::format("this string is longer than {} bytes", kMaxString), token.where,
                      "is its closing \" missing?");
    if (at_ >= text_.size()) throw bad_input("this string is never closed", token.where, "end it with \"");
    const char c = peek();
    advance();
    if (c != '\\' || at_ >= text_.size()) {
      token.text += c;
      continue;
    }
    const char escaped = peek();
    if (escaped == '\r' && peek(1) == '\n') {
      advance(), advance();
      continue;
    }
    advance();
    switch (escaped) {
      case '\n':
        break;
      case 'n':
        token.text += '\n';
        break;
      case 't':
        token.text += '\t';
        break;
      case '"':
      case '\\':
        token.text += escaped;
        break;
      default:
        token.text += '\\', token.text += escaped;
    }
  }
  advance();
  token.kind = TokenKind::string;
  token.end = at_;
  return token;
}

// What a graph says ends up in JSON: of the run store, of summaries.
static Token in_utf8(Token token) {
  if (utf8_text(token.text) != token.text) throw bad_input("this text is not UTF-8", token.where, "save the file as UTF-8");
  return token;
}

Token Lexer::next() {
  skip_blanks_and_comments();
  Token token;
  token.begin = token.end = at_;
  token.where = here();
  if (at_ >= text_.size()) return token;
  if (peek() == '"') return in_utf8(read_string(std::move(token)));

  const std::string_view rest = text_.substr(at_);
  size_t length = 1;
  if (const size_t word = word_length(rest)) {
    length = word;
    token.kind = is_keyword(rest.substr(0, word)) ? TokenKind::keyword : TokenKind::word;
  } else if (const size_t number = number_length(rest)) {
    length = number;
    token.kind = TokenKind::number;
  } else if (rest.substr(0, 2) == "->") {
    length = 2;
    token.kind = TokenKind::arrow;
  } else if (rest.substr(0, 2) == "--") {
    length = 2;
    token.kind = TokenKind::undirected;
  } else {
    switch (rest[0]) {
      case '{':
        token.kind = TokenKind::open_brace;
        break;
      case '}':
        token.kind = TokenKind::close_brace;
        break;
      case '[':
        token.kind = TokenKind::open_bracket;
        break;
      case ']':
        token.kind = TokenKind::close_bracket;
        break;
      case '=':
        token.kind = TokenKind::equals;
        break;
      case ';':
        token.kind = TokenKind::semicolon;
        break;
      case ',':
        token.kind = TokenKind::comma;
        break;
      case ':':
        token.kind = TokenKind::colon;
        break;
      case '+':
        token.kind = TokenKind::plus;
        break;
      case '<':
        token.kind = TokenKind::html;
        break;
      default:
        token.kind = TokenKind::other;
    }
  }
  if (length > kMaxName)
    throw bad_input(fmt::format("'{}' is longer than {} bytes", clipped(rest.substr(0, length)), kMaxName), token.where);
  token.text = token.kind == TokenKind::keyword ? lower(rest.substr(0, length)) : std::string(rest.substr(0, length));
  for (size_t i = 0; i < length; ++i) advance();
  token.end = at_;
  return token.kind == TokenKind::word ? in_utf8(std::move(token)) : token;
}

size_t Lexer::skip_spaces(size_t begin) const { return std::min(text_.find_first_not_of(" \t", begin), text_.size()); }

std::string Lexer::raw_value(size_t begin) const {
  const size_t end = text_.find_first_of(" \t\r\n,;]", begin);
  return clipped(text_.substr(begin, end == std::string_view::npos ? end : end - begin), kMaxName);
}

}  // namespace r1::graph
