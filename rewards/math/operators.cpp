// Operators of an expression, by precedence: relations, sets, ratios, sums, products, signs, powers.
#include "rewards/math/grammar.h"

namespace r1::math {

namespace {

constexpr std::string_view kStarters[] = {"\\frac",   "\\sqrt",  "\\cbrt", "\\binom", "\\pi",   "\\infty",
                                          "\\lfloor", "\\lceil", "\\abs",  "\\floor", "\\ceil", "\\langle"};

}  // namespace

std::optional<Operator> Parser::relation_operator() {
  static constexpr std::pair<std::string_view, Operator> kOperators[] = {
      {"=", Operator::equal},   {"\\ne", Operator::not_equal},     {"<", Operator::less}, {"\\le", Operator::less_equal},
      {">", Operator::greater}, {"\\ge", Operator::greater_equal}, {"\\in", Operator::in}};
  for (const auto& [token, op] : kOperators)
    if (take(token)) return op;
  return std::nullopt;
}

NodePtr Parser::relation() {
  const Deeper deeper(depth_);
  NodePtr first = sets();
  NodePtr out;
  while (const auto op = relation_operator()) {
    if (!out) out = make(Kind::relation, std::move(first));
    out->operators.push_back(*op);
    out->kids.push_back(sets());
  }
  return out ? std::move(out) : std::move(first);
}

NodePtr Parser::sets() {
  NodePtr left = ratio();
  for (;; count_link()) {
    const Kind kind = peek().is("\\cup") ? Kind::set_union : peek().is("\\cap") ? Kind::intersection : Kind::difference;
    if (kind == Kind::difference && !peek().is("\\setminus")) return left;
    ++at_;
    left = make(kind, std::move(left), ratio());
  }
}

NodePtr Parser::ratio() {
  NodePtr left = sum();
  const auto colon = [&] { return !in_set_ && (peek().is(":") || (textual(peek()) && peek().text == "to" && at_ + 1 < end_)); };
  if (!colon()) return left;
  NodePtr out = make(Kind::ratio, std::move(left));
  while (colon()) {
    ++at_;
    out->kids.push_back(sum());
  }
  return out;
}

NodePtr Parser::sum() {
  NodePtr left;
  if (peek().is("\\pm") || peek().is("\\mp")) {
    const bool minus = (at_++)->text == "\\mp";
    left = make(Kind::plus_minus, term());
    if (minus) left->name = "-";
  } else {
    left = term();
  }
  for (;; count_link()) {
    if (take("+")) {
      left = make(Kind::add, std::move(left), term());
    } else if (take("-")) {
      left = make(Kind::add, std::move(left), make(Kind::negate, term()));
    } else if (peek().is("\\pm") || peek().is("\\mp")) {
      const bool minus = (at_++)->text == "\\mp";
      left = make(Kind::plus_minus, std::move(left), term());
      if (minus) left->name = "-";
    } else {
      return left;
    }
  }
}

bool Parser::starts_factor() const {
  const Token& t = peek();
  switch (t.type) {
    case Type::number:
    case Type::letter:
      return true;
    case Type::command:
      return among(kStarters, t.text) || among(kFunctions, t.text);
    case Type::symbol:
      return t.text == "(" || t.text == "{" || (t.text == "|" && !in_set_ && bars_ == 0);
    default:
      return false;
  }
}

NodePtr Parser::term() {
  NodePtr left = unary();
  for (;; count_link()) {
    if (take("*")) {
      left = make(Kind::multiply, std::move(left), unary());
    } else if (take("/")) {
      left = make(Kind::divide, std::move(left), unary());
    } else if (peek().type == Type::word && scale_word(peek().text) != 0) {
      left = make(Kind::multiply, std::move(left), make(Kind::power, integer(10), integer(scale_word((at_++)->text))));
    } else if (starts_factor()) {
      // Two numbers side by side are neither a product nor one number; a bracket of several things is no factor.
      if (peek().type == Type::number && at_[-1].type == Type::number) fail();
      NodePtr right = postfix();
      if (right->kind == Kind::bracket || right->kind == Kind::set) fail();
      left = make(Kind::multiply, std::move(left), std::move(right));
    } else {
      return left;
    }
  }
}

// The power of ten that a word stands for; 0: none.
long Parser::scale_word(std::string_view word) {
  static constexpr std::pair<std::string_view, long> kScales[] = {
      {"hundred", 2}, {"thousand", 3}, {"million", 6}, {"billion", 9}, {"trillion", 12}};
  for (const auto& [name, value] : kScales)
    if (name == word) return value;
  return 0;
}

// A long chain is a deep tree.
void Parser::count_link() {
  if (++links_ > kMaxLinks) fail();
}

NodePtr Parser::unary() {
  const Deeper deeper(depth_);
  if (take("-")) return make(Kind::negate, unary());
  if (take("+")) return unary();
  return postfix();
}

NodePtr Parser::postfix() {
  const Deeper deeper(depth_);
  NodePtr left = primary();
  for (;; count_link()) {
    if (take("!")) {
      left = make(Kind::call, std::move(left));
      left->name = "factorial";
    } else if (take("%")) {
      left = make(Kind::percent, std::move(left));
    } else if (take("\\circ")) {
      left = make(Kind::degree, std::move(left));
    } else if (peek().is("^")) {
      left = exponent(std::move(left));
    } else if (peek().is("_") && left->kind == Kind::number) {
      ++at_;
      const bool braced = take("{");
      left = based(*left, base_name(*at_));
      ++at_;
      if (braced) expect("}");
    } else {
      return left;
    }
  }
}

NodePtr Parser::exponent(NodePtr base) {
  ++at_;  // ^
  if (take("\\circ")) return make(Kind::degree, std::move(base));
  if (peek().is("{") && at_ + 2 < end_ && at_[1].is("\\circ") && at_[2].is("}")) {
    at_ += 3;
    return make(Kind::degree, std::move(base));
  }
  return make(Kind::power, std::move(base), exponent_value());
}

NodePtr Parser::exponent_value() {
  const Deeper deeper(depth_);
  if (take("-")) return make(Kind::negate, exponent_value());
  if (take("+")) return exponent_value();
  NodePtr e = primary();
  if (take("!")) {
    e = make(Kind::call, std::move(e));
    e->name = "factorial";
  }
  if (take("^")) return make(Kind::power, std::move(e), exponent_value());
  return e;
}

}  // namespace r1::math
