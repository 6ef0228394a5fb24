#include "rewards/expression.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/clipped.h"
#include "rewards/program_calls.h"
#include "rewards/rule_calls.h"

namespace r1 {

enum class Op {
  number,
  variable,
  negate,
  add,
  subtract,
  multiply,
  divide,
  less,
  less_equal,
  equal,
  greater_equal,
  greater,
  min,
  max,
  abs,
  sigmoid,
  clamp,
  choose,
  overlong
};

struct RewardExpression::Node {
  Op op = Op::number;
  double number = 0;
  std::string name;
  std::vector<std::unique_ptr<Node>> args;
};

namespace {

using Node = RewardExpression::Node;
using NodePtr = std::unique_ptr<Node>;

constexpr int kMaxDepth = 200;
// Evaluation recurses over the tree, and 1+1+...+1 is as deep as it is long.
constexpr int kMaxNodes = 2000;

struct Function {
  const char* name;
  Op op;
  size_t least, most;
};
constexpr Function kFunctions[] = {{"min", Op::min, 2, 99},         {"max", Op::max, 2, 99},    {"abs", Op::abs, 1, 1},
                                   {"sigmoid", Op::sigmoid, 1, 1},  {"clamp", Op::clamp, 3, 3}, {"if", Op::choose, 3, 3},
                                   {"overlong", Op::overlong, 2, 3}};

class Parser {
 public:
  Parser(std::string_view text, const Where& where, std::vector<std::string>& variables, std::vector<OverlongUse>& overlongs)
      : text_(text), where_(where), variables_(variables), overlongs_(overlongs) {}

  NodePtr parse() {
    NodePtr root = expression();
    if (at_ < text_.size())
      fail(fmt::format("unexpected '{}' in the reward expression", here()), at_, "expected an operator or the end");
    return root;
  }

 private:
  Where place(size_t at) const {
    Where where = where_;
    if (where.line == 0) where.line = 1;
    where.column = std::max(where.column, 1) + static_cast<int>(at);
    return where;
  }
  [[noreturn]] void fail(const std::string& what, size_t at, const std::string& hint = {}) const {
    throw bad_input(what, place(at), hint);
  }

  // The character at at_, as text: a whole UTF-8 sequence.
  std::string here() const {
    size_t n = 1;
    while (at_ + n < text_.size() && (static_cast<uint8_t>(text_[at_ + n]) & 0xC0) == 0x80) ++n;
    return std::string(text_.substr(at_, n));
  }
  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool take(std::string_view token) {
    skip_space();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }

  NodePtr node(Op op, NodePtr a = nullptr, NodePtr b = nullptr) {
    if (++nodes_ > kMaxNodes)
      fail(fmt::format("the reward expression has more than {} numbers, names and operators", kMaxNodes), at_);
    auto n = std::make_unique<Node>();
    n->op = op;
    if (a) n->args.push_back(std::move(a));
    if (b) n->args.push_back(std::move(b));
    return n;
  }

  NodePtr expression() {
    if (++depth_ > kMaxDepth) fail("the reward expression is nested too deeply", at_);
    NodePtr left = sum();
    static constexpr std::pair<const char*, Op> comparisons[] = {
        {"<=", Op::less_equal}, {">=", Op::greater_equal}, {"==", Op::equal}, {"<", Op::less}, {">", Op::greater}};
    for (const auto& [token, op] : comparisons) {
      if (!take(token)) continue;
      left = node(op, std::move(left), sum());
      break;
    }
    skip_space();
    --depth_;
    return left;
  }

  NodePtr sum() {
    NodePtr left = term();
    for (;;) {
      if (take("+"))
        left = node(Op::add, std::move(left), term());
      else if (take("-"))
        left = node(Op::subtract, std::move(left), term());
      else
        return left;
    }
  }

  NodePtr term() {
    NodePtr left = unary();
    for (;;) {
      if (take("*"))
        left = node(Op::multiply, std::move(left), unary());
      else if (take("/"))
        left = node(Op::divide, std::move(left), unary());
      else
        return left;
    }
  }

  NodePtr unary() {
    bool negative = false;
    while (take("-")) negative = !negative;
    NodePtr inner = primary();
    return negative ? node(Op::negate, std::move(inner)) : std::move(inner);
  }

  NodePtr primary() {
    skip_space();
    if (at_ == text_.size()) fail("the reward expression ends too early", at_, "expected a number, a name or '('");
    const char c = text_[at_];
    if (take("(")) {
      const size_t open = at_ - 1;
      NodePtr inner = expression();
      if (!take(")")) fail("this '(' is never closed", open);
      return inner;
    }
    if (std::isdigit(static_cast<unsigned char>(c)) || c == '.') return number();
    if (std::isalpha(static_cast<unsigned char>(c)) || c == '_') return name();
    fail(fmt::format("unexpected '{}' in the reward expression", here()), at_, "expected a number, a name or '('");
  }

  NodePtr number() {
    double value = 0;
    const char* begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error == std::errc::result_out_of_range) fail("the number is out of range", at_, "the largest is about 1.8e308");
    if (error != std::errc()) fail("not a number", at_);
    at_ += static_cast<size_t>(end - begin);
    NodePtr n = node(Op::number);
    n->number = value;
    return n;
  }

  NodePtr name() {
    const size_t start = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_')) ++at_;
    const std::string word(text_.substr(start, at_ - start));
    if (word.size() > 255) fail(fmt::format("'{}' is too long a name", clipped(word)), start);
    const auto* f =
        std::find_if(std::begin(kFunctions), std::end(kFunctions), [&](const Function& x) { return word == x.name; });
    const bool known = f != std::end(kFunctions);
    std::vector<std::string> calls = rule_call_names();
    calls.insert(calls.end(), program_call_names().begin(), program_call_names().end());
    if (std::find(calls.begin(), calls.end(), word) != calls.end()) return literal_call(word, start);
    if (take("(")) {
      const size_t open = at_ - 1;
      if (!known) {
        std::vector<std::string> names;
        for (const Function& x : kFunctions) names.emplace_back(x.name);
        names.insert(names.end(), calls.begin(), calls.end());
        const std::string near = nearest(word, names);
        fail(fmt::format("unknown function '{}'", clipped(word)), start,
             near.empty() ? fmt::format("known are {}", fmt::join(names, ", ")) : fmt::format("did you mean '{}'?", near));
      }
      NodePtr n = node(f->op);
      do n->args.push_back(expression());
      while (take(","));
      if (!take(")")) fail("this '(' is never closed", open);
      if (n->args.size() < f->least || n->args.size() > f->most)
        fail(fmt::format("{} takes {}{} argument{}, not {}", word, f->most > f->least ? "at least " : "", f->least,
                         f->least == 1 ? "" : "s", n->args.size()),
             start);
      if (n->op == Op::overlong) {
        if (n->args.size() == 2) n->args.insert(n->args.begin(), variable("length"));
        note_overlong(*n, start);
      }
      return n;
    }
    if (known) fail(fmt::format("'{}' is a function", word), start, fmt::format("expected '{}('", word));
    return variable(word);
  }

  NodePtr variable(const std::string& name) {
    if (std::find(variables_.begin(), variables_.end(), name) == variables_.end()) variables_.push_back(name);
    NodePtr n = node(Op::variable);
    n->name = name;
    return n;
  }

  // regex('...'), up to its closing bracket: a variable whose name is the call.
  NodePtr literal_call(const std::string& word, size_t start) {
    if (!take("("))
      fail(fmt::format("'{}' is a {} with arguments", word, is_program_call(word + "()") ? "program" : "rule"), start,
           fmt::format("expected '{}('", word));
    const size_t open = at_ - 1;
    for (char quote = 0; at_ < text_.size() && (quote != 0 || text_[at_] != ')'); ++at_) {
      if (quote != 0)
        quote = text_[at_] == quote ? '\0' : quote;
      else if (text_[at_] == '\'' || text_[at_] == '"')
        quote = text_[at_];
    }
    if (!take(")")) fail("this '(' is never closed", open);
    const std::string call(text_.substr(start, at_ - start));
    const std::string problem = is_program_call(call) ? program_call_problem(call) : rule_call_problem(call);
    if (!problem.empty()) fail(problem, start);
    return variable(call);
  }

  void note_overlong(const Node& n, size_t at) {
    const Node &max = *n.args[1], &cache = *n.args[2];
    if (max.op != Op::number || cache.op != Op::number)
      fail("the last two arguments of overlong are numbers of tokens", at, "overlong(length, 96, 24)");
    if (!(cache.number > 0 && cache.number <= max.number))
      fail(fmt::format("overlong cannot soften the last {} of {} tokens", cache.number, max.number), at,
           "overlong(length, MAX, CACHE) with 0 < CACHE <= MAX");
    overlongs_.push_back({max.number, cache.number, place(at)});
  }

  std::string_view text_;
  Where where_;
  std::vector<std::string>& variables_;
  std::vector<OverlongUse>& overlongs_;
  size_t at_ = 0;
  int depth_ = 0, nodes_ = 0;
};

// A step of an expression that is no number: min, max, `if` and comparisons would hide it.
struct NotFinite {
  std::string name;  // of the variable; "": of an operation
  double value = 0;
};

double value(const Node& n, const std::function<double(const std::string&)>& value_of);

double raw_value(const Node& n, const std::function<double(const std::string&)>& value_of) {
  if (n.op == Op::number) return n.number;
  if (n.op == Op::variable) return value_of(n.name);
  if (n.op == Op::choose) return value(*n.args[value(*n.args[0], value_of) != 0 ? 1 : 2], value_of);
  std::vector<double> a;
  a.reserve(n.args.size());
  bool pending = false;
  for (const auto& arg : n.args) try {
      a.push_back(value(*arg, value_of));
    } catch (const RewardExpression::Pending&) {
      pending = true;
    }
  if (pending) throw RewardExpression::Pending();
  switch (n.op) {
    case Op::negate:
      return -a[0];
    case Op::add:
      return a[0] + a[1];
    case Op::subtract:
      return a[0] - a[1];
    case Op::multiply:
      return a[0] * a[1];
    case Op::divide:
      return a[0] / a[1];
    case Op::less:
      return a[0] < a[1];
    case Op::less_equal:
      return a[0] <= a[1];
    case Op::equal:
      return a[0] == a[1];
    case Op::greater_equal:
      return a[0] >= a[1];
    case Op::greater:
      return a[0] > a[1];
    case Op::abs:
      return std::abs(a[0]);
    case Op::sigmoid:
      return 1.0 / (1.0 + std::exp(-a[0]));
    case Op::clamp:
      return std::min(std::max(a[0], a[1]), a[2]);
    case Op::overlong:
      return std::clamp((a[1] - a[2] - a[0]) / a[2], -1.0, 0.0);
    case Op::min:
      return *std::min_element(a.begin(), a.end());
    case Op::max:
      return *std::max_element(a.begin(), a.end());
    case Op::number:
    case Op::variable:
    case Op::choose:
      break;
  }
  return 0;
}

double value(const Node& n, const std::function<double(const std::string&)>& value_of) {
  const double v = raw_value(n, value_of);
  if (!std::isfinite(v)) throw NotFinite{n.op == Op::variable ? n.name : "", v};
  return v;
}

// Of all that `f` gives for ends of `a` and `b`; 0 x infinity is the 0 that no finite factor changes.
template <class F>
Bounds of_ends(const Bounds& a, const Bounds& b, F f) {
  Bounds r{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (const double x : {a.least, a.most})
    for (const double y : {b.least, b.most}) {
      const double v = f(x, y);
      r.least = std::min(r.least, std::isnan(v) ? 0 : v);
      r.most = std::max(r.most, std::isnan(v) ? 0 : v);
    }
  return r;
}

Bounds truth(bool always, bool never) { return {always ? 1.0 : 0.0, never ? 0.0 : 1.0}; }

// Whether two steps are written alike, and so have one value.
bool alike(const Node& a, const Node& b) {
  return a.op == b.op && a.number == b.number && a.name == b.name &&
         std::equal(a.args.begin(), a.args.end(), b.args.begin(), b.args.end(),
                    [](const NodePtr& x, const NodePtr& y) { return alike(*x, *y); });
}

// Of two steps that are alike, for the operations that know more of them than of any others.
std::optional<Bounds> bounds_of_alike(Op op) {
  if (op == Op::subtract || op == Op::less || op == Op::greater) return Bounds{0, 0};
  if (op == Op::divide || op == Op::less_equal || op == Op::equal || op == Op::greater_equal) return Bounds{1, 1};
  return std::nullopt;
}

Bounds bounds_of_node(const Node& n, const std::function<Bounds(const std::string&)>& bounds_of) {
  if (n.args.size() == 2 && alike(*n.args[0], *n.args[1]))
    if (const auto known = bounds_of_alike(n.op)) return *known;
  std::vector<Bounds> a;
  for (const auto& arg : n.args) a.push_back(bounds_of_node(*arg, bounds_of));
  switch (n.op) {
    case Op::number:
      return {n.number, n.number};
    case Op::variable:
      return bounds_of(n.name);
    case Op::negate:
      return {-a[0].most, -a[0].least};
    case Op::add:
      return {a[0].least + a[1].least, a[0].most + a[1].most};
    case Op::subtract:
      return {a[0].least - a[1].most, a[0].most - a[1].least};
    case Op::multiply:
      return of_ends(a[0], a[1], [](double x, double y) { return x * y; });
    case Op::divide:
      if (a[1].least <= 0 && a[1].most >= 0) return {};
      return of_ends(a[0], a[1], [](double x, double y) { return x / y; });
    case Op::less:
      return truth(a[0].most < a[1].least, a[0].least >= a[1].most);
    case Op::less_equal:
      return truth(a[0].most <= a[1].least, a[0].least > a[1].most);
    case Op::equal:
      return truth(a[0].least == a[0].most && a[1].least == a[1].most && a[0].least == a[1].least,
                   a[0].most < a[1].least || a[0].least > a[1].most);
    case Op::greater_equal:
      return truth(a[0].least >= a[1].most, a[0].most < a[1].least);
    case Op::greater:
      return truth(a[0].least > a[1].most, a[0].most <= a[1].least);
    case Op::abs:
      if (a[0].least < 0 && a[0].most > 0) return {0, std::max(-a[0].least, a[0].most)};
      return of_ends(a[0], a[0], [](double x, double) { return std::abs(x); });
    case Op::sigmoid:
      return {1.0 / (1.0 + std::exp(-a[0].least)), 1.0 / (1.0 + std::exp(-a[0].most))};
    case Op::overlong:
      return {-1, 0};
    case Op::choose:
      if (a[0].least > 0 || a[0].most < 0) return a[1];
      if (a[0].least == 0 && a[0].most == 0) return a[2];
      return {std::min(a[1].least, a[2].least), std::max(a[1].most, a[2].most)};
    case Op::clamp:
      return {std::min(std::max(a[0].least, a[1].least), a[2].least), std::min(std::max(a[0].most, a[1].most), a[2].most)};
    case Op::min:
    case Op::max: {
      Bounds r = a[0];
      for (const Bounds& b : a)
        r = n.op == Op::min ? Bounds{std::min(r.least, b.least), std::min(r.most, b.most)}
                            : Bounds{std::max(r.least, b.least), std::max(r.most, b.most)};
      return r;
    }
  }
  return {};
}

bool same_for_all(const Node& n, const std::function<Bounds(const std::string&)>& bounds_of,
                  const std::function<bool(const std::string&)>& is_given) {
  if (n.op == Op::variable && is_given(n.name)) return true;
  if (const Bounds b = bounds_of_node(n, bounds_of); b.least == b.most) return true;
  if (n.args.empty()) return false;
  const auto same = [&](size_t i) { return same_for_all(*n.args[i], bounds_of, is_given); };
  if (n.op == Op::choose) {
    const Bounds condition = bounds_of_node(*n.args[0], bounds_of);
    if (condition.least > 0 || condition.most < 0) return same(1);
    if (condition.least == 0 && condition.most == 0) return same(2);
    if (alike(*n.args[1], *n.args[2])) return same(1);
  }
  for (size_t i = 0; i < n.args.size(); ++i)
    if (!same(i)) return false;
  return true;
}

}  // namespace

bool RewardExpression::same_for_all(const std::function<Bounds(const std::string&)>& bounds_of,
                                    const std::function<bool(const std::string&)>& is_given) const {
  return r1::same_for_all(*root_, bounds_of, is_given);
}

Bounds RewardExpression::bounds(const std::function<Bounds(const std::string&)>& bounds_of) const {
  return bounds_of_node(*root_, bounds_of);
}

RewardExpression RewardExpression::parse(std::string_view text, const Where& where) {
  RewardExpression e;
  e.text_ = text;
  e.root_ = Parser(text, where, e.variables_, e.overlongs_).parse();
  return e;
}

double RewardExpression::evaluate(const std::function<double(const std::string&)>& value_of) const {
  try {
    return value(*root_, value_of);
  } catch (const NotFinite& e) {
    if (!e.name.empty()) throw failure(fmt::format("'{}' is {} in the reward expression '{}'", e.name, e.value, text_));
    throw failure(fmt::format("the reward expression '{}' gives {}", text_, e.value), {}, "a division by zero?");
  }
}

void check_variables(const RewardExpression& expression, const std::vector<std::string>& known, const Where& where) {
  for (const std::string& name : expression.variables()) {
    if (std::find(known.begin(), known.end(), name) != known.end() || name.ends_with(')'))
      continue;  // calls were checked when read
    const std::string near = nearest(name, known);
    throw bad_input(
        fmt::format("the reward expression uses '{}', which is neither a reward, nor a fact of the prompts, nor a model", name),
        where, near.empty() ? fmt::format("known are {}", fmt::join(known, ", ")) : fmt::format("did you mean '{}'?", near));
  }
}

}  // namespace r1
