#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"
#include "tasks/jinja/syntax.h"

namespace r1::jinja {

namespace {

using Kind = Node::Kind;

class Parser {
 public:
  Parser(std::string_view source, const std::string& name) : name_(name), tokens_(tokenize(source, name)) {}

  NodePtr parse() {
    NodePtr body = statements({});
    if (now().kind != Token::Kind::end) fail(fmt::format("unexpected '{}'", now().text));
    return body;
  }

 private:
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
    explicit Deeper(Parser& p) : parser(p) {
      if (++parser.depth_ > kMaxNesting) parser.fail(fmt::format("nested deeper than {}", kMaxNesting));
    }
    ~Deeper() { --parser.depth_; }
    Parser& parser;
  };

  // ---- statements

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

  // ---- expressions, loosest first

  // a, b, c: a list; without a comma the expression itself.
  NodePtr tuple(bool conditional = true) {
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

  NodePtr expression() {
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
  NodePtr left_to_right(std::initializer_list<std::string_view> operators, bool words, Part part) {
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

  NodePtr disjunction() {
    return left_to_right({"or"}, true, [this] { return conjunction(); });
  }
  NodePtr conjunction() {
    return left_to_right({"and"}, true, [this] { return negation(); });
  }

  NodePtr negation() {
    if (!is_word("not")) return comparison();
    Deeper deeper(*this);
    auto node = make(Kind::unary);
    node->text = "not";
    ++at_;
    node->children.push_back(negation());
    return node;
  }

  NodePtr comparison() {
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

  NodePtr sum() {
    return left_to_right({"+", "-"}, false, [this] { return concatenation(); });
  }
  NodePtr concatenation() {
    return left_to_right({"~"}, false, [this] { return product(); });
  }
  NodePtr product() {
    return left_to_right({"*", "//", "/", "%"}, false, [this] { return power(); });
  }
  NodePtr power() {
    return left_to_right({"**"}, false, [this] { return unary(true); });
  }

  NodePtr unary(bool with_filter) {
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

  NodePtr primary() {
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

  Value number(const std::string& text) const {
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

  NodePtr postfix(NodePtr value) {
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

  NodePtr call(NodePtr callee) {
    auto node = make(Kind::call);
    node->children.push_back(std::move(callee));
    arguments(*node);
    return node;
  }

  NodePtr subscript(NodePtr value) {
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
  void arguments(Node& node) {
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

  std::string dotted_name() {
    std::string name = expect_name();
    while (take_op(".")) name += "." + expect_name();
    return name;
  }

  NodePtr one_filter(NodePtr value) {
    auto node = make(Kind::filter);
    node->text = dotted_name();
    node->children.push_back(std::move(value));
    if (is_op("(")) arguments(*node);
    return node;
  }

  NodePtr filter_chain(NodePtr value) {
    int chain = 0;
    while (take_op("|")) {
      if (++chain > kMaxNesting) fail(fmt::format("more than {} filters", kMaxNesting));
      value = one_filter(std::move(value));
    }
    return value;
  }

  NodePtr filters_and_tests(NodePtr value) {
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

  NodePtr test(NodePtr value) {
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

  const std::string& name_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
};

}  // namespace

NodePtr parse(std::string_view source, const std::string& name_for_errors) { return Parser(source, name_for_errors).parse(); }

}  // namespace r1::jinja
