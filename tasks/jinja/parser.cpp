// Statements of chat templates. Their expressions: expressions.h.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tasks/jinja/expressions.h"

namespace r1::jinja {

namespace {

class Parser final : private ExpressionParser {
 public:
  Parser(std::string_view source, const std::string& name) : ExpressionParser(source, name) {}

  NodePtr parse() {
    NodePtr body = statements({});
    if (now().kind != Token::Kind::end) fail(fmt::format("unexpected '{}'", now().text));
    return body;
  }

 private:
  // Until a block whose first word is one of `ends` (not consumed: at_ stands at the word), or the end of the template.
  NodePtr statements(std::initializer_list<std::string_view> ends) {
    Deeper deeper(*this);
    auto sequence = make(Kind::sequence);
    while (now().kind != Token::Kind::end) {
      if (now().kind == Token::Kind::text) {
        auto node = make(Kind::output);
        node->text = now().text;
        ++at_;
        sequence->children.push_back(std::move(node));
      } else if (now().kind == Token::Kind::output_begin) {
        auto node = make(Kind::output);
        ++at_;
        node->children.push_back(tuple());
        if (now().kind != Token::Kind::output_end) fail("expected '}}', found " + found());
        ++at_;
        sequence->children.push_back(std::move(node));
      } else {
        ++at_;  // block_begin
        if (now().kind != Token::Kind::name) fail("expected a statement, found " + found());
        if (std::find(ends.begin(), ends.end(), now().text) != ends.end()) return sequence;
        if (NodePtr node = statement()) sequence->children.push_back(std::move(node));
      }
    }
    if (ends.size() > 0) fail(fmt::format("'{}' is missing", *(ends.end() - 1)));
    return sequence;
  }

  NodePtr statement() {
    const std::string word = now().text;
    if (word == "if") return if_statement();
    if (word == "for") return for_statement();
    if (word == "set") return set_statement();
    if (word == "macro") return macro_statement();
    if (word == "call") return call_statement();
    if (word == "filter") return filter_statement();
    if (word == "generation") {  // marks what an assistant said; no text of its own
      ++at_;
      expect_block_end();
      NodePtr body = statements({"endgeneration"});
      end_block("endgeneration");
      return body;
    }
    if (word == "break" || word == "continue") {
      auto node = make(word == "break" ? Kind::break_ : Kind::continue_);
      if (loops_ == 0) fail(fmt::format("'{}' outside a loop", word));
      ++at_;
      expect_block_end();
      return node;
    }
    fail(fmt::format("unknown statement '{}'", word));
  }

  void end_block(std::string_view word) {
    expect_word(word);
    if (now().kind == Token::Kind::name) ++at_;  // {% endmacro NAME %}
    expect_block_end();
  }

  NodePtr if_statement() {
    auto node = make(Kind::if_);
    for (;;) {
      ++at_;  // if, elif
      node->children.push_back(tuple());
      expect_block_end();
      node->children.push_back(statements({"elif", "else", "endif"}));
      if (is_word("elif")) continue;
      if (take_word("else")) {
        expect_block_end();
        node->children.push_back(statements({"endif"}));
      }
      end_block("endif");
      return node;
    }
  }

  NodePtr for_statement() {
    auto node = make(Kind::for_);
    ++at_;
    const bool parens = take_op("(");
    do node->names.push_back(expect_name());
    while (take_op(","));
    if (parens) expect_op(")");
    expect_word("in");
    node->children.push_back(tuple(/*conditional=*/false));
    node->children.push_back(take_word("if") ? expression() : nullptr);
    if (is_word("recursive")) fail("recursive loops are not supported");
    expect_block_end();
    ++loops_;
    node->children.push_back(statements({"else", "endfor"}));
    --loops_;
    if (take_word("else")) {
      expect_block_end();
      node->children.push_back(statements({"endfor"}));
    } else {
      node->children.push_back(nullptr);
    }
    end_block("endfor");
    return node;
  }

  NodePtr set_statement() {
    auto node = make(Kind::set);
    ++at_;
    do {
      std::string target = expect_name();
      if (take_op(".")) target += "." + expect_name();
      node->names.push_back(std::move(target));
    } while (take_op(","));
    if (take_op("=")) {
      node->children.push_back(tuple());
      expect_block_end();
      return node;
    }
    node->kind = Kind::set_block;
    if (node->names.size() != 1) fail("expected '=', found " + found());
    NodePtr filters = filter_chain(nullptr);
    expect_block_end();
    node->children.push_back(statements({"endset"}));
    node->children.push_back(std::move(filters));
    end_block("endset");
    return node;
  }

  void parameters(Node& node) {
    expect_op("(");
    while (!is_op(")")) {
      if (!node.names.empty()) expect_op(",");
      node.names.push_back(expect_name());
      if (take_op("="))
        node.children.push_back(expression());
      else if (node.children.size() > 1)
        fail("a parameter without a default stands after one that has one");
    }
    ++at_;
  }

  NodePtr body_of(const char* end) {
    expect_block_end();
    const int loops = std::exchange(loops_, 0);
    NodePtr body = statements({end});
    loops_ = loops;
    end_block(end);
    return body;
  }

  NodePtr macro_statement() {
    auto node = make(Kind::macro);
    ++at_;
    node->text = expect_name();
    node->children.push_back(nullptr);
    parameters(*node);
    node->children[0] = body_of("endmacro");
    return node;
  }

  NodePtr call_statement() {
    auto node = make(Kind::call_block);
    ++at_;
    Node caller;
    caller.children.push_back(nullptr);
    if (is_op("(")) parameters(caller);
    node->names = std::move(caller.names);
    node->children.push_back(expression());
    if (node->children[0]->kind != Kind::call) fail("'call' expects a call of a macro");
    node->children.push_back(body_of("endcall"));
    for (size_t i = 1; i < caller.children.size(); ++i) node->children.push_back(std::move(caller.children[i]));
    return node;
  }

  NodePtr filter_statement() {
    auto node = make(Kind::filter_block);
    ++at_;
    node->children.push_back(one_filter(nullptr));
    node->children[0] = filter_chain(std::move(node->children[0]));
    expect_block_end();
    node->children.push_back(statements({"endfilter"}));
    end_block("endfilter");
    return node;
  }

  int loops_ = 0;
};

}  // namespace

NodePtr parse(std::string_view source, const std::string& name_for_errors) { return Parser(source, name_for_errors).parse(); }

}  // namespace r1::jinja
