#include "rewards/math/parser.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

namespace r1::math {

namespace {

using Type = Token::Type;

constexpr int kMaxDepth = 60;
constexpr int kMaxLinks = 500;
constexpr std::string_view kFunctions[] = {"\\sin",    "\\cos",    "\\tan",    "\\cot",  "\\sec",  "\\csc",  "\\exp", "\\ln",
                                           "\\arcsin", "\\arccos", "\\arctan", "\\sinh", "\\cosh", "\\tanh", "\\log"};
constexpr std::string_view kStarters[] = {"\\frac",   "\\sqrt",  "\\cbrt", "\\binom", "\\pi",   "\\infty",
                                          "\\lfloor", "\\lceil", "\\abs",  "\\floor", "\\ceil", "\\langle"};
constexpr std::string_view kFillers[] = {"about",  "approximately", "exactly",   "is", "the answer is",
                                         "equals", "equal to",      "therefore", "so"};

struct NotMathematics {};
[[noreturn]] void fail() { throw NotMathematics{}; }

template <class Table>
bool among(const Table& table, std::string_view key) {
  return std::find(std::begin(table), std::end(table), key) != std::end(table);
}

NodePtr make(Kind kind) {
  auto n = std::make_unique<Node>();
  n->kind = kind;
  return n;
}
NodePtr make(Kind kind, NodePtr a) {
  NodePtr n = make(kind);
  n->kids.push_back(std::move(a));
  return n;
}
NodePtr make(Kind kind, NodePtr a, NodePtr b) {
  NodePtr n = make(kind, std::move(a));
  n->kids.push_back(std::move(b));
  return n;
}
NodePtr named(Kind kind, std::string name) {
  NodePtr n = make(kind);
  n->name = std::move(name);
  return n;
}
NodePtr integer(const mpz_class& value) {
  NodePtr n = make(Kind::number);
  n->value = value;
  return n;
}

bool textual(const Token& t) { return t.type == Type::word || t.type == Type::quoted; }
bool currency(const Token& t) { return textual(t) && (t.text == "$" || t.text == "eur" || t.text == "gbp" || t.text == "yen"); }

class Parser {
 public:
  Parser(const Token* begin, const Token* end) : at_(begin), end_(end) {}

  Item item() {
    Item out;
    while (at_ < end_ && textual(*at_) && !currency(*at_)) {  // "area = 5", "about 5", "Tuesday"
      const Token* after = at_;
      while (after < end_ && textual(*after) && !currency(*after)) ++after;
      std::string words;
      for (const Token* t = at_; t < after; ++t) words += (words.empty() ? "" : " ") + t->text;
      if (after == end_) {
        at_ = after;
        out.value = named(Kind::text, words);
        return out;
      }
      if (!after->is("=") && !after->is(":") && !among(kFillers, words)) fail();
      at_ = after + (after->is("=") || after->is(":") ? 1 : 0);
    }
    take("=");
    // "12 m", with a space: metres and not a product.
    if (end_ - at_ == 2 && at_[0].type == Type::number && at_[1].type == Type::letter && at_[1].space &&
        std::string_view("m s g L h").find(at_[1].text) != std::string_view::npos)
      out.unit = at_[1].text, --end_;
    trailing_mark(out);
    out.value = relation();
    if (!unit_.empty()) out.unit = unit_;
    if (at_ < end_) {
      if (!textual(*at_) && !(at_->type == Type::letter && out.unit == "degree")) fail();
      if (at_->text == "base" && at_ + 2 == end_ && at_[1].type == Type::number) {
        out.value = based(*out.value, at_[1].text);
        return out;
      }
      if (at_->text == "of" || out.unit == "usd") out.unit.clear();
      for (; at_ < end_; ++at_) {
        if (at_->type == Type::symbol && (at_->text == "{" || at_->text == "}")) continue;
        if (at_->type == Type::command || at_->is("=") || at_->is("+")) fail();
        const bool glued =
            at_->type == Type::symbol || (!out.unit.empty() && (out.unit.back() == '^' || out.unit.back() == '/'));
        out.unit += (out.unit.empty() || glued ? "" : " ") + at_->text;
      }
    }
    return out;
  }

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

  // A percent or degree sign at the end belongs to the whole item: 1/2 % is a half percent.
  void trailing_mark(Item& out) {
    const auto back = [&](ptrdiff_t k) -> const Token& {
      static const Token kEnd;
      return end_ - at_ > k ? end_[-1 - k] : kEnd;
    };
    if (back(0).is("%")) {
      out.percent = true;
      --end_;
      return;
    }
    if (std::any_of(at_, end_, [](const Token& t) { return among(kFunctions, t.text) || t.is("=") || t.is("\\pm"); })) return;
    ptrdiff_t gone = 0;
    const ptrdiff_t scale = back(0).type == Type::letter && (back(0).text == "C" || back(0).text == "F") ? 1 : 0;
    if (back(scale).is("\\circ")) gone = back(scale + 1).is("^") ? 2 : 1;
    if (back(scale).is("}") && back(scale + 1).is("\\circ") && back(scale + 2).is("{") && back(scale + 3).is("^")) gone = 4;
    if (gone == 0) return;
    unit_ = scale == 1 ? "degree " + back(0).text : "degree";
    end_ -= gone + scale;
  }

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

  std::optional<Operator> relation_operator() {
    static constexpr std::pair<std::string_view, Operator> kOperators[] = {
        {"=", Operator::equal},   {"\\ne", Operator::not_equal},     {"<", Operator::less}, {"\\le", Operator::less_equal},
        {">", Operator::greater}, {"\\ge", Operator::greater_equal}, {"\\in", Operator::in}};
    for (const auto& [token, op] : kOperators)
      if (take(token)) return op;
    return std::nullopt;
  }

  NodePtr relation() {
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

  NodePtr sets() {
    NodePtr left = ratio();
    for (;; count_link()) {
      const Kind kind = peek().is("\\cup") ? Kind::set_union : peek().is("\\cap") ? Kind::intersection : Kind::difference;
      if (kind == Kind::difference && !peek().is("\\setminus")) return left;
      ++at_;
      left = make(kind, std::move(left), ratio());
    }
  }

  NodePtr ratio() {
    NodePtr left = sum();
    const auto colon = [&] {
      return !in_set_ && (peek().is(":") || (textual(peek()) && peek().text == "to" && at_ + 1 < end_));
    };
    if (!colon()) return left;
    NodePtr out = make(Kind::ratio, std::move(left));
    while (colon()) {
      ++at_;
      out->kids.push_back(sum());
    }
    return out;
  }

  NodePtr sum() {
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

  bool starts_factor() const {
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

  NodePtr term() {
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
  static long scale_word(std::string_view word) {
    static constexpr std::pair<std::string_view, long> kScales[] = {
        {"hundred", 2}, {"thousand", 3}, {"million", 6}, {"billion", 9}, {"trillion", 12}};
    for (const auto& [name, value] : kScales)
      if (name == word) return value;
    return 0;
  }
  // A long chain is a deep tree.
  void count_link() {
    if (++links_ > kMaxLinks) fail();
  }

  NodePtr unary() {
    const Deeper deeper(depth_);
    if (take("-")) return make(Kind::negate, unary());
    if (take("+")) return unary();
    return postfix();
  }

  NodePtr postfix() {
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

  NodePtr exponent(NodePtr base) {
    ++at_;  // ^
    if (take("\\circ")) return make(Kind::degree, std::move(base));
    if (peek().is("{") && at_ + 2 < end_ && at_[1].is("\\circ") && at_[2].is("}")) {
      at_ += 3;
      return make(Kind::degree, std::move(base));
    }
    return make(Kind::power, std::move(base), exponent_value());
  }
  NodePtr exponent_value() {
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

  // The number of a base: 2, or \text{two}.
  std::string base_name(const Token& t) const {
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
  static NodePtr based(const Node& digits, const std::string& base_text) {
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

  NodePtr primary() {
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

  static bool whole(const Token& t) { return t.type == Type::number && t.places < 0 && t.value.get_den() == 1; }

  NodePtr number() {
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

  NodePtr letter() {
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
  bool application_is_named() const {
    int depth = 0;
    for (const Token* t = at_; t < end_ && t < at_ + 12; ++t) {
      if (t->is("(")) ++depth;
      if (t->is(")") && --depth == 0) return t + 1 < end_ && (t + 1)->is("=");
    }
    return false;
  }

  // What a command takes: {...}, or one digit, or one token.
  NodePtr argument(bool whole_number = false) {
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

  NodePtr command() {
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

  NodePtr function(const std::string& name) {
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

  NodePtr matrix(const std::string& environment) {
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

  NodePtr bracketed(char open, std::string_view close, char close_char) {
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

  NodePtr symbol() {
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

  NodePtr braces(bool set) {
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

  const Token* at_;
  const Token* end_;
  const Token* split_ = nullptr;  // a number of which one digit is already used
  std::string unit_;
  int depth_ = 0, bars_ = 0, links_ = 0;
  bool in_set_ = false;
};

bool separator(const Token& t) {
  if (t.type == Type::symbol) return t.text == "," || t.text == ";";
  if (t.type == Type::command) return t.text == "\\or" || t.text == "\\and";
  return textual(t) && (t.text == "and" || t.text == "or");
}

}  // namespace

std::optional<std::vector<Item>> parse_answer(const std::vector<Token>& tokens) {
  std::vector<Item> out;
  const Token* begin = tokens.data();
  const Token* end = begin + tokens.size() - 1;
  if (begin == end) return std::nullopt;
  try {
    int depth = 0;
    const Token* start = begin;
    for (const Token* t = begin; t <= end; ++t) {
      if (t < end && (t->type == Type::symbol || t->type == Type::command)) {
        if (t->text == "(" || t->text == "[" || t->text == "{" || t->text == "\\{" || t->text == "\\langle" ||
            t->text.starts_with("\\begin "))
          ++depth;
        if (t->text == ")" || t->text == "]" || t->text == "}" || t->text == "\\}" || t->text == "\\rangle" ||
            t->text.starts_with("\\end "))
          --depth;
      }
      if (t < end && (depth > 0 || !separator(*t))) continue;
      if (t > start) {
        out.push_back(Parser(start, t).item());
        out.back().separator = start == begin                                   ? ','
                               : start[-1].text.find("or") != std::string::npos ? '|'
                               : start[-1].type == Type::symbol                 ? ','
                                                                                : '&';
      }
      start = t + 1;
      if (out.size() > 256) return std::nullopt;
    }
  } catch (const NotMathematics&) {
    return std::nullopt;
  }
  if (out.empty()) return std::nullopt;
  return out;
}

}  // namespace r1::math
