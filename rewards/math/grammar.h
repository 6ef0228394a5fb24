// The grammar of answers, shared by the files that hold its parts: items with their words and units (parser.cpp), operators by
// precedence (operators.cpp), and what they join (primaries.cpp). Private to these; others call parse_answer() (parser.h).
// Thread rule: one parser a thread.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "rewards/math/parser.h"

namespace r1::math {

using Type = Token::Type;

constexpr int kMaxDepth = 60;
constexpr int kMaxLinks = 500;
constexpr std::string_view kFunctions[] = {"\\sin",    "\\cos",    "\\tan",    "\\cot",  "\\sec",  "\\csc",  "\\exp", "\\ln",
                                           "\\arcsin", "\\arccos", "\\arctan", "\\sinh", "\\cosh", "\\tanh", "\\log"};

struct NotMathematics {};
[[noreturn]] inline void fail() { throw NotMathematics{}; }

template <class Table>
bool among(const Table& table, std::string_view key) {
  return std::find(std::begin(table), std::end(table), key) != std::end(table);
}

inline NodePtr make(Kind kind) {
  auto n = std::make_unique<Node>();
  n->kind = kind;
  return n;
}
inline NodePtr make(Kind kind, NodePtr a) {
  NodePtr n = make(kind);
  n->kids.push_back(std::move(a));
  return n;
}
inline NodePtr make(Kind kind, NodePtr a, NodePtr b) {
  NodePtr n = make(kind, std::move(a));
  n->kids.push_back(std::move(b));
  return n;
}
inline NodePtr named(Kind kind, std::string name) {
  NodePtr n = make(kind);
  n->name = std::move(name);
  return n;
}
inline NodePtr integer(const mpz_class& value) {
  NodePtr n = make(Kind::number);
  n->value = value;
  return n;
}

inline bool textual(const Token& t) { return t.type == Type::word || t.type == Type::quoted; }
inline bool currency(const Token& t) {
  return textual(t) && (t.text == "$" || t.text == "eur" || t.text == "gbp" || t.text == "yen");
}

// Reads one item, from `begin` to `end`. Every method throws NotMathematics for what is none.
class Parser {
 public:
  Parser(const Token* begin, const Token* end) : at_(begin), end_(end) {}

  Item item();

 private:
  const Token& peek() const {
    static const Token kEnd;
    return at_ < end_ ? *at_ : kEnd;
  }
  bool take(std::string_view t) {
    if (!peek().is(t)) return false;
    ++at_;
    return true;
  }
  void expect(std::string_view t) {
    if (!take(t)) fail();
  }
  void trailing_mark(Item& out);

  struct Deeper {
    int& depth;
    explicit Deeper(int& d) : depth(d) {
      if (++depth > kMaxDepth) {
        --depth;
        fail();
      }
    }
    ~Deeper() { --depth; }
  };

  // Operators, the loosest first.
  std::optional<Operator> relation_operator();
  NodePtr relation();
  NodePtr sets();
  NodePtr ratio();
  NodePtr sum();
  bool starts_factor() const;
  NodePtr term();
  static long scale_word(std::string_view word);
  void count_link();
  NodePtr unary();
  NodePtr postfix();
  NodePtr exponent(NodePtr base);
  NodePtr exponent_value();

  // What they join.
  std::string base_name(const Token& t) const;
  static NodePtr based(const Node& digits, const std::string& base_text);
  NodePtr primary();
  NodePtr number();
  NodePtr letter();
  bool application_is_named() const;
  NodePtr argument(bool whole_number = false);
  NodePtr command();
  NodePtr function(const std::string& name);
  NodePtr matrix(const std::string& environment);
  NodePtr bracketed(char open, std::string_view close, char close_char);
  NodePtr symbol();
  NodePtr braces(bool set);
  static bool whole(const Token& t) { return t.type == Type::number && t.places < 0 && t.value.get_den() == 1; }

  const Token* at_;
  const Token* end_;
  const Token* split_ = nullptr;  // a number of which one digit is already used
  std::string unit_;
  int depth_ = 0, bars_ = 0, links_ = 0;
  bool in_set_ = false;
};

}  // namespace r1::math
