// Expressions of chat templates: values, operators by precedence, calls, filters and tests; and the place in the tokens that
// the statements around them (parser.cpp) share. Internal to tasks/jinja. Thread rule: one parser a thread.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "tasks/jinja/syntax.h"

namespace r1::jinja {

class ExpressionParser {
 protected:
  using Kind = Node::Kind;

  ExpressionParser(std::string_view source, const std::string& name) : name_(name), tokens_(tokenize(source, name)) {}

  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  [[noreturn]] void fail(const std::string& what) const { throw bad_input("chat template: " + what, {name_, now().line}); }

  bool is_op(std::string_view op) const { return now().kind == Token::Kind::op && now().text == op; }
  bool is_word(std::string_view word) const { return now().kind == Token::Kind::name && now().text == word; }
  bool take_op(std::string_view op) {
    if (!is_op(op)) return false;
    ++at_;
    return true;
  }
  bool take_word(std::string_view word) {
    if (!is_word(word)) return false;
    ++at_;
    return true;
  }
  void expect_op(std::string_view op) {
    if (!take_op(op)) fail(fmt::format("expected '{}', found {}", op, found()));
  }
  void expect_word(std::string_view word) {
    if (!take_word(word)) fail(fmt::format("expected '{}', found {}", word, found()));
  }
  std::string expect_name() {
    if (now().kind != Token::Kind::name) fail("expected a name, found " + found());
    return tokens_[at_++].text;
  }
  void expect_block_end() {
    if (now().kind != Token::Kind::block_end) fail("expected '%}', found " + found());
    ++at_;
  }
  std::string found() const {
    switch (now().kind) {
      case Token::Kind::end:
        return "the end of the template";
      case Token::Kind::block_end:
        return "'%}'";
      case Token::Kind::output_end:
        return "'}}'";
      default:
        return "'" + now().text + "'";
    }
  }

  std::unique_ptr<Node> make(Kind kind) const {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->line = now().line;
    return node;
  }

  // Everything that recurses goes through here.
  struct Deeper {
    explicit Deeper(ExpressionParser& p) : parser(p) {
      if (++parser.depth_ > kMaxNesting) parser.fail(fmt::format("nested deeper than {}", kMaxNesting));
    }
    ~Deeper() { --parser.depth_; }
    ExpressionParser& parser;
  };

  // a, b, c: a list; without a comma the expression itself.
  NodePtr tuple(bool conditional = true);
  NodePtr expression();
  NodePtr one_filter(NodePtr value);
  NodePtr filter_chain(NodePtr value);

  const std::string& name_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;

 private:
  template <class Part>
  NodePtr left_to_right(std::initializer_list<std::string_view> operators, bool words, Part part);
  NodePtr disjunction();
  NodePtr conjunction();
  NodePtr negation();
  NodePtr comparison();
  NodePtr sum();
  NodePtr concatenation();
  NodePtr product();
  NodePtr power();
  NodePtr unary(bool with_filter);
  NodePtr primary();
  Value number(const std::string& text) const;
  NodePtr postfix(NodePtr value);
  NodePtr call(NodePtr callee);
  NodePtr subscript(NodePtr value);
  // ( a, b, name=c )
  void arguments(Node& node);
  std::string dotted_name();
  NodePtr filters_and_tests(NodePtr value);
  NodePtr test(NodePtr value);
};

}  // namespace r1::jinja
