#include "tasks/jinja/expressions.h"

#include <array>
#include <charconv>

namespace r1::jinja {

// a, b, c: a list; without a comma the expression itself.
NodePtr ExpressionParser::tuple(bool conditional) {
  const auto one = [&] { return conditional ? expression() : disjunction(); };
  NodePtr first = one();
  if (!is_op(",")) return first;
  auto node = make(Kind::list);
  node->children.push_back(std::move(first));
  while (take_op(",")) {
    if (now().kind == Token::Kind::block_end || now().kind == Token::Kind::output_end || is_op(")")) break;
    node->children.push_back(one());
  }
  return node;
}

NodePtr ExpressionParser::expression() {
  Deeper deeper(*this);
  NodePtr value = disjunction();
  while (take_word("if")) {
    auto node = make(Kind::conditional);
    node->children.push_back(std::move(value));
    node->children.push_back(disjunction());
    node->children.push_back(take_word("else") ? expression() : nullptr);
    value = std::move(node);
  }
  return value;
}

template <class Part>
NodePtr ExpressionParser::left_to_right(std::initializer_list<std::string_view> operators, bool words, Part part) {
  NodePtr left = part();
  int chain = 0;
  for (;;) {
    const auto op =
        std::find_if(operators.begin(), operators.end(), [&](std::string_view o) { return words ? is_word(o) : is_op(o); });
    if (op == operators.end()) return left;
    if (++chain > 1000) fail("an expression of more than 1000 terms");
    auto node = make(Kind::binary);
    node->text = *op;
    ++at_;
    node->children.push_back(std::move(left));
    node->children.push_back(part());
    left = std::move(node);
  }
}

NodePtr ExpressionParser::disjunction() {
  return left_to_right({"or"}, true, [this] { return conjunction(); });
}

NodePtr ExpressionParser::conjunction() {
  return left_to_right({"and"}, true, [this] { return negation(); });
}

NodePtr ExpressionParser::negation() {
  if (!is_word("not")) return comparison();
  Deeper deeper(*this);
  auto node = make(Kind::unary);
  node->text = "not";
  ++at_;
  node->children.push_back(negation());
  return node;
}

NodePtr ExpressionParser::comparison() {
  NodePtr first = sum();
  std::unique_ptr<Node> node;
  for (;;) {
    std::string op;
    for (const std::string_view o : {"==", "!=", "<=", ">=", "<", ">"})
      if (is_op(o)) op = o;
    if (is_word("in")) op = "in";
    if (is_word("not") && ahead().kind == Token::Kind::name && ahead().text == "in") {
      op = "not in";
      ++at_;
    }
    if (op.empty()) return node ? NodePtr(std::move(node)) : std::move(first);
    if (!node) {
      node = make(Kind::comparison);
      node->children.push_back(std::move(first));
    }
    ++at_;
    node->names.push_back(op);
    node->children.push_back(sum());
  }
}

NodePtr ExpressionParser::sum() {
  return left_to_right({"+", "-"}, false, [this] { return concatenation(); });
}

NodePtr ExpressionParser::concatenation() {
  return left_to_right({"~"}, false, [this] { return product(); });
}

NodePtr ExpressionParser::product() {
  return left_to_right({"*", "//", "/", "%"}, false, [this] { return power(); });
}

NodePtr ExpressionParser::power() {
  return left_to_right({"**"}, false, [this] { return unary(true); });
}

NodePtr ExpressionParser::unary(bool with_filter) {
  Deeper deeper(*this);
  NodePtr value;
  if (is_op("-") || is_op("+")) {
    auto node = make(Kind::unary);
    node->text = now().text;
    ++at_;
    node->children.push_back(unary(false));
    value = std::move(node);
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filter ? filters_and_tests(std::move(value)) : std::move(value);
}

NodePtr ExpressionParser::primary() {
  auto node = make(Kind::literal);
  const Token token = now();
  if (token.kind == Token::Kind::name) {
    ++at_;
    if (token.text == "true" || token.text == "True") {
      node->value = true;
    } else if (token.text == "false" || token.text == "False") {
      node->value = false;
    } else if (token.text == "none" || token.text == "None") {
      node->value = Value::none();
    } else {
      node->kind = Kind::name;
      node->text = token.text;
    }
    return node;
  }
  if (token.kind == Token::Kind::string) {
    std::string text;
    while (now().kind == Token::Kind::string) text += tokens_[at_++].text;
    node->value = std::move(text);
    return node;
  }
  if (token.kind == Token::Kind::number) {
    ++at_;
    node->value = number(token.text);
    return node;
  }
  if (take_op("(")) {
    if (take_op(")")) {
      node->value = List{};
      return node;
    }
    NodePtr inner = tuple();
    expect_op(")");
    return inner;
  }
  if (take_op("[")) {
    node->kind = Kind::list;
    while (!is_op("]")) {
      if (!node->children.empty()) expect_op(",");
      if (is_op("]")) break;
      node->children.push_back(expression());
    }
    ++at_;
    return node;
  }
  if (take_op("{")) {
    node->kind = Kind::dict;
    while (!is_op("}")) {
      if (!node->children.empty()) expect_op(",");
      if (is_op("}")) break;
      node->children.push_back(expression());
      expect_op(":");
      node->children.push_back(expression());
    }
    ++at_;
    return node;
  }
  fail("expected a value, found " + found());
}

Value ExpressionParser::number(const std::string& text) const {
  if (text.find_first_of(".eE") == std::string::npos) {
    int64_t i = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), i);
    if (error != std::errc() || end != text.data() + text.size()) fail(fmt::format("the number {} is out of range", text));
    return i;
  }
  double d = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), d);
  if (error != std::errc() || end != text.data() + text.size()) fail(fmt::format("the number {} is out of range", text));
  return d;
}

NodePtr ExpressionParser::postfix(NodePtr value) {
  for (int chain = 0;; ++chain) {
    if (chain > 1000) fail("a chain of more than 1000 calls and members");
    if (take_op(".")) {
      auto node = make(Kind::attribute);
      if (now().kind == Token::Kind::number) {  // a.0 is a[0]
        node->kind = Kind::subscript;
        auto index = make(Kind::literal);
        index->value = number(now().text);
        ++at_;
        node->children.push_back(std::move(value));
        node->children.push_back(std::move(index));
      } else {
        node->text = expect_name();
        node->children.push_back(std::move(value));
      }
      value = std::move(node);
    } else if (is_op("[")) {
      value = subscript(std::move(value));
    } else if (is_op("(")) {
      value = call(std::move(value));
    } else {
      return value;
    }
  }
}

NodePtr ExpressionParser::call(NodePtr callee) {
  auto node = make(Kind::call);
  node->children.push_back(std::move(callee));
  arguments(*node);
  return node;
}

NodePtr ExpressionParser::subscript(NodePtr value) {
  auto node = make(Kind::subscript);
  ++at_;
  node->children.push_back(std::move(value));
  NodePtr first = is_op(":") ? nullptr : expression();
  if (!is_op(":")) {
    node->children.push_back(std::move(first));
  } else {
    node->kind = Kind::slice;
    node->children.push_back(std::move(first));
    for (int part = 0; part < 2; ++part) {
      const bool given = take_op(":") && !is_op(":") && !is_op("]");
      node->children.push_back(given ? expression() : nullptr);
    }
  }
  expect_op("]");
  return node;
}

// ( a, b, name=c )
void ExpressionParser::arguments(Node& node) {
  expect_op("(");
  bool first = true;
  while (!is_op(")")) {
    if (!first) expect_op(",");
    first = false;
    if (is_op(")")) break;
    if (is_op("*") || is_op("**")) fail("'*' in arguments is not supported");
    if (now().kind == Token::Kind::name && ahead().kind == Token::Kind::op && ahead().text == "=") {
      std::string name = expect_name();
      ++at_;
      node.named.emplace_back(std::move(name), expression());
    } else {
      if (!node.named.empty()) fail("an argument without a name stands after one with a name");
      node.children.push_back(expression());
    }
  }
  ++at_;
}

std::string ExpressionParser::dotted_name() {
  std::string name = expect_name();
  while (take_op(".")) name += "." + expect_name();
  return name;
}

NodePtr ExpressionParser::one_filter(NodePtr value) {
  auto node = make(Kind::filter);
  node->text = dotted_name();
  node->children.push_back(std::move(value));
  if (is_op("(")) arguments(*node);
  return node;
}

NodePtr ExpressionParser::filter_chain(NodePtr value) {
  int chain = 0;
  while (take_op("|")) {
    if (++chain > kMaxNesting) fail(fmt::format("more than {} filters", kMaxNesting));
    value = one_filter(std::move(value));
  }
  return value;
}

NodePtr ExpressionParser::filters_and_tests(NodePtr value) {
  for (int chain = 0;; ++chain) {
    if (chain > kMaxNesting) fail(fmt::format("more than {} filters and tests", kMaxNesting));
    if (is_op("|")) {
      ++at_;
      value = one_filter(std::move(value));
    } else if (take_word("is")) {
      value = test(std::move(value));
    } else if (is_op("(")) {
      value = call(std::move(value));
    } else {
      return value;
    }
  }
}

NodePtr ExpressionParser::test(NodePtr value) {
  const bool negated = take_word("not");
  auto node = make(Kind::test);
  node->text = dotted_name();
  node->children.push_back(std::move(value));
  static constexpr std::array<std::string_view, 8> kNoArgument = {"else", "or", "and", "if", "is", "not", "in", "recursive"};
  if (is_op("(")) {
    arguments(*node);
  } else if (now().kind == Token::Kind::string || now().kind == Token::Kind::number || is_op("[") || is_op("{") ||
             (now().kind == Token::Kind::name &&
              std::find(kNoArgument.begin(), kNoArgument.end(), now().text) == kNoArgument.end())) {
    node->children.push_back(postfix(primary()));
  }
  if (!negated) return node;
  auto negation = make(Kind::unary);
  negation->text = "not";
  negation->children.push_back(std::move(node));
  return negation;
}

}  // namespace r1::jinja
