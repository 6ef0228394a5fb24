// Cuts an answer written in LaTeX, plain text or Unicode into tokens: one spelling for each thing.
//   \dfrac, \tfrac > \frac      U+2212 > -      \leq, <=, U+2264 > \le      U+00B2 > ^{2}      "pi" > \pi      40\% > 40 %
// Layout (\left, \displaystyle, \, and $) goes; digits grouped by {,} \, or ~ are one number.
// Thread rule: pure functions.
#pragma once

#include <gmpxx.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace r1::math {

struct Token {
  enum class Type {
    number,   // text: its digits; value, places
    letter,   // text: one Latin letter, or a Greek letter's command
    word,     // text: a bare word, lower case
    quoted,   // text: the content of \text{...}
    command,  // text: "\frac"
    symbol,   // text: one of + - * / ^ _ ! ( ) [ ] { } < > = , ; : | & % and "**"
    end
  };
  Type type = Type::end;
  std::string text;
  mpq_class value;
  int places = -1;
  bool space = false;  // white space before it
  bool is(std::string_view t) const { return (type == Type::symbol || type == Type::command) && text == t; }
};

constexpr size_t kMaxAnswerBytes = 4096;

// nullopt: not text that we can read (too long, brackets left open in \text{...}). `comma_groups`: 1,234 at top level is one
// number. The last token is an `end`.
std::optional<std::vector<Token>> tokenize(std::string_view answer, bool comma_groups);

// Whether the answer has digits that may be one number or a list: "1,234" or "1 234".
bool has_comma_groups(std::string_view answer);

}  // namespace r1::math
