// Text of a graph file -> tokens of the DOT subset, each with its line and column. Knows no grammar.
//
// Lexical rules are those of Graphviz (graphviz.org/doc/info/lang.html), so what passes here passes `dot`:
//   word    [A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*    number  -?(.[0-9]+|[0-9]+(.[0-9]*)?)
//   string  "..." with \" \\ \n \t, a backslash at the end of a line joins lines, any other backslash stays
//   comment // ..., # ... (both to the end of the line), /* ... */
// Columns count code points from 1.
// Thread rule: an object belongs to one thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace r1::graph {

enum class TokenKind {
  end,
  word,
  number,
  string,
  keyword,
  arrow,
  undirected,
  open_brace,
  close_brace,
  open_bracket,
  close_bracket,
  equals,
  semicolon,
  comma,
  colon,
  plus,
  html,
  other
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string text;           // unescaped; keywords in lower case
  size_t begin = 0, end = 0;  // byte offsets in the source
  Where where;
};

bool is_keyword(std::string_view word);            // node, edge, graph, digraph, subgraph, strict in any case
bool is_bare_id(std::string_view text);            // needs no quotes as a DOT ID
std::string quoted_id(std::string_view text);      // bare where possible, otherwise quoted and escaped
std::string quoted_string(std::string_view text);  // always quoted

// What people write is far shorter; a message shows what was written.
constexpr size_t kMaxName = 255, kMaxString = 65'536;

class Lexer {
 public:
  // `text` must outlive the object.
  Lexer(std::string_view text, std::string file);
  // Throws bad_input for an unterminated string or comment.
  Token next();
  // The source from `begin` up to the next blank, ',', ';', ']' or end of line: what the user meant as one value.
  std::string raw_value(size_t begin) const;
  size_t skip_spaces(size_t begin) const;  // the first byte from `begin` on that is no blank or tab

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  void advance();
  void skip_blanks_and_comments();
  Token read_string(Token token);
  Where here() const { return {file_, line_, column_}; }

  std::string_view text_;
  std::string file_;
  size_t at_ = 0;
  int line_ = 1, column_ = 1;
};

}  // namespace r1::graph
