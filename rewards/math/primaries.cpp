// What operators join: numbers and names, commands, functions, brackets, sets, matrices.
#include <charconv>

#include "rewards/math/grammar.h"

namespace r1::math {

// The number of a base: 2, or \text{two}.
std::string Parser::base_name(const Token& t) const {
  if (at_ >= end_) fail();
  if (t.type == Type::number) return t.text;
  static constexpr std::pair<std::string_view, const char*> kBases[] = {
      {"two", "2"},   {"three", "3"}, {"four", "4"}, {"five", "5"}, {"six", "6"},
      {"seven", "7"}, {"eight", "8"}, {"nine", "9"}, {"ten", "10"}, {"sixteen", "16"}};
  for (const auto& [name, base] : kBases)
    if (textual(t) && t.text == name) return base;
  fail();
}

// 101 in base 2; the value is kept with the base.
NodePtr Parser::based(const Node& digits, const std::string& base_text) {
  if (digits.kind != Kind::number || digits.places >= 0 || base_text.size() > 2) fail();
  long base = 0;
  const char* const end = base_text.data() + base_text.size();
  if (std::from_chars(base_text.data(), end, base).ptr != end || base < 2 || base > 36) fail();
  const std::string text = digits.name.empty() ? digits.value.get_num().get_str() : digits.name;
  NodePtr out = make(Kind::based);
  mpz_class value;
  if (value.set_str(text, static_cast<int>(base)) != 0) fail();
  out->value = value;
  out->base = base;
  return out;
}

NodePtr Parser::primary() {
  const Deeper deeper(depth_);
  const Token& t = peek();
  switch (t.type) {
    case Type::number:
      return number();
    case Type::letter:
      return letter();
    case Type::command:
      return command();
    case Type::symbol:
      return symbol();
    case Type::quoted:
    case Type::word:
      if (currency(t)) {
        unit_ = t.text == "$" ? "usd" : t.text;
        ++at_;
        return primary();
      }
      fail();
    case Type::end:
      fail();
  }
  fail();
}

NodePtr Parser::number() {
  // Digits beyond 9, as in 1A_{16}.
  const Token* last = at_;
  while (last + 1 < end_ && ((last + 1)->type == Type::number || (last + 1)->type == Type::letter) && !(last + 1)->space)
    ++last;
  if (last > at_ && last + 1 < end_ && (last + 1)->is("_")) {
    std::string digits;
    for (const Token* t = at_; t <= last; ++t) digits += t->text;
    if (const Token* base = last + ((last + 2 < end_ && (last + 2)->is("{")) ? 3 : 2);
        base < end_ && base->type == Type::number) {
      NodePtr n = named(Kind::number, digits);
      at_ = last + 1;
      return n;
    }
  }
  const Token& t = *at_++;
  NodePtr n = make(Kind::number);
  n->value = t.value;
  n->places = t.places;
  if (!whole(t)) return n;
  if (peek().is("\\frac")) {  // 8\frac{1}{8}
    const Token* saved = at_++;
    NodePtr top = argument(), bottom = argument();
    const auto plain = [](const Node& k) { return k.kind == Kind::number && k.places < 0 && k.value.get_den() == 1; };
    if (plain(*top) && plain(*bottom) && top->value < bottom->value)
      return make(Kind::add, std::move(n), make(Kind::divide, std::move(top), std::move(bottom)));
    at_ = saved;
  } else if (whole(peek()) && at_ + 2 < end_ && at_[1].is("/") && whole(at_[2]) && at_->value < at_[2].value) {  // 2 1/2
    NodePtr fraction = make(Kind::divide, integer(at_->value.get_num()), integer(at_[2].value.get_num()));
    at_ += 3;
    return make(Kind::add, std::move(n), std::move(fraction));
  }
  return n;
}

NodePtr Parser::letter() {
  std::string name = (at_++)->text;
  while (peek().is("'")) {
    name += '\'';
    ++at_;
  }
  if (peek().is("_") && at_ + 1 < end_) {
    ++at_;
    name += '_';
    if (take("{")) {
      for (; at_ < end_ && !at_->is("}"); ++at_) name += at_->text;
      expect("}");
    } else {
      name += (at_++)->text;
    }
  }
  if (peek().is("(") && (name[0] == 'f' || name[0] == 'g' || name[0] == 'h' || application_is_named())) {
    NodePtr out = named(Kind::apply, name);
    NodePtr argument = symbol();
    out->kids.push_back(std::move(argument));
    return out;
  }
  return named(name == "e" || name == "i" ? Kind::constant : Kind::symbol, name);
}

// P(x) = ...: at the beginning, with an equals sign after the bracket.
bool Parser::application_is_named() const {
  int depth = 0;
  for (const Token* t = at_; t < end_ && t < at_ + 12; ++t) {
    if (t->is("(")) ++depth;
    if (t->is(")") && --depth == 0) return t + 1 < end_ && (t + 1)->is("=");
  }
  return false;
}

// What a command takes: {...}, or one digit, or one token.
NodePtr Parser::argument(bool whole_number) {
  const Deeper deeper(depth_);
  if (peek().type == Type::number && !whole_number && peek().text.size() > 1 && peek().places < 0 && whole(peek())) {
    if (split_ == at_) {
      // the rest of a number whose first digit was an argument
      split_ = nullptr;
      const std::string rest = (at_++)->text.substr(1);
      return integer(mpz_class(rest, 10));
    }
    if (peek().text.size() != 2) fail();
    split_ = at_;
    return integer(mpz_class(at_->text.substr(0, 1), 10));
  }
  if (peek().type == Type::number) {
    NodePtr n = make(Kind::number);
    n->value = peek().value;
    n->places = (at_++)->places;
    return n;
  }
  return primary();
}

NodePtr Parser::command() {
  const std::string name = (at_++)->text;
  if (name == "\\frac" || name == "\\binom") {
    NodePtr a = argument();
    const bool split = split_ != nullptr;
    NodePtr b = argument();
    if (split_ != nullptr && !split) fail();
    return make(name == "\\frac" ? Kind::divide : Kind::binomial, std::move(a), std::move(b));
  }
  if (name == "\\sqrt" || name == "\\cbrt") {
    NodePtr degree = integer(mpz_class(name == "\\sqrt" ? 2 : 3));
    if (take("[")) {
      degree = sum();
      expect("]");
    }
    return make(Kind::root, std::move(degree), argument(true));
  }
  if (name == "\\pi") return named(Kind::constant, "pi");
  if (name == "\\infty") return make(Kind::infinity);
  if (name == "\\reals") return make(Kind::reals);
  if (name == "\\emptyset") return make(Kind::set);
  if (name == "\\abs" || name == "\\floor" || name == "\\ceil") {
    NodePtr out = make(Kind::call, primary());
    out->name = name.substr(1);
    return out;
  }
  if (name == "\\lfloor" || name == "\\lceil") {
    NodePtr out = make(Kind::call, sum());
    out->name = name == "\\lfloor" ? "floor" : "ceil";
    expect(name == "\\lfloor" ? "\\rfloor" : "\\rceil");
    return out;
  }
  if (name == "\\langle") return bracketed('<', "\\rangle", '>');
  if (among(kFunctions, name)) return function(name.substr(1));
  if (name.starts_with("\\begin ")) return matrix(name.substr(7));
  fail();
}

NodePtr Parser::function(const std::string& name) {
  NodePtr exponent_node, base;
  for (int k = 0; k < 2; ++k) {
    if (take("^")) exponent_node = exponent_value();
    if (name == "log" && take("_")) base = argument(true);
  }
  NodePtr arg;
  if (peek().is("(") || peek().is("{")) {
    arg = primary();
  } else {
    arg = unary();
    while (starts_factor() && !among(kFunctions, peek().text) && !peek().is("("))
      arg = make(Kind::multiply, std::move(arg), postfix());
  }
  NodePtr out;
  if (base) {
    out = make(Kind::log_base, std::move(base), std::move(arg));
  } else {
    out = make(Kind::call, std::move(arg));
    out->name = name;
  }
  if (!exponent_node) return out;
  // sin^{-1} is the inverse.
  if (exponent_node->kind == Kind::negate && exponent_node->kids[0]->kind == Kind::number &&
      exponent_node->kids[0]->value == 1 && (name == "sin" || name == "cos" || name == "tan")) {
    out->name = "arc" + name;
    return out;
  }
  return make(Kind::power, std::move(out), std::move(exponent_node));
}

NodePtr Parser::matrix(const std::string& environment) {
  NodePtr out = make(Kind::matrix);
  if (environment == "vmatrix") out->name = "determinant";
  size_t width = 0;
  const std::string end = "\\end " + environment;
  for (;;) {
    if (take(end)) break;
    out->kids.push_back(relation());
    ++width;
    if (take("&")) continue;
    if (out->rows == 0) out->columns = width;
    if (width != out->columns) fail();
    ++out->rows;
    width = 0;
    if (take("\\\\")) continue;
    expect(end);
    break;
  }
  if (width != 0 || out->rows == 0) fail();
  return out;
}

NodePtr Parser::bracketed(char open, std::string_view close, char close_char) {
  const bool in_set = std::exchange(in_set_, false);
  const int bars = std::exchange(bars_, 0);
  NodePtr out = make(Kind::bracket);
  out->open = open;
  do out->kids.push_back(relation());
  while (take(",") || take(";"));
  if (close.empty()) {
    if (take(")"))
      close_char = ')';
    else if (take("]"))
      close_char = ']';
    else
      fail();
  } else {
    expect(close);
  }
  out->close = close_char;
  in_set_ = in_set;
  bars_ = bars;
  if (out->kids.size() == 1 && ((open == '(' && close_char == ')') || (open == '[' && close_char == ']')))
    return std::move(out->kids[0]);
  if (out->kids.size() == 1) fail();
  return out;
}

NodePtr Parser::symbol() {
  const std::string t = (at_++)->text;
  if (t == "(" || t == "[") return bracketed(t[0], "", 0);
  if (t == "{" || t == "\\{") return braces(t == "\\{");
  if (t == "|") {
    ++bars_;
    NodePtr out = make(Kind::call, sum());
    out->name = "abs";
    --bars_;
    expect("|");
    return out;
  }
  fail();
}

NodePtr Parser::braces(bool set) {
  const std::string_view close = set ? "\\}" : "}";
  const bool in_set = std::exchange(in_set_, set || in_set_);
  NodePtr out = make(Kind::set);
  if (!take(close)) {
    do out->kids.push_back(relation());
    while (take(",") || take(";"));
    if (set && (take("|") || take(":"))) {
      if (out->kids.size() != 1) fail();
      out->kind = Kind::builder;
      NodePtr conditions = make(Kind::list, relation());
      while (take(",") || take("\\and") || take("\\or")) {
        if (at_[-1].text == "\\or") conditions->name = "or";
        conditions->kids.push_back(relation());
      }
      out->kids.push_back(std::move(conditions));
    }
    expect(close);
  }
  in_set_ = in_set;
  if (!set && out->kids.size() == 1) return std::move(out->kids[0]);
  return out;
}

}  // namespace r1::math
