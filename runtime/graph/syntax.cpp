#include "runtime/graph/syntax.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/clipped.h"
#include "runtime/graph/lexer.h"

namespace r1::graph {

namespace {

std::string shown(const Token& token) {
  if (token.kind == TokenKind::end) return "the end of the file";
  if (token.kind == TokenKind::string) return quoted_string(clipped(token.text));
  return "'" + token.text + "'";
}

// A run is one process on one machine: larger files are written by accident. Checks compare all pairs of nodes and edges.
constexpr size_t kMaxStatements = 200'000, kMaxAttributes = 256;

bool plain_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxName && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           static_cast<unsigned char>(c) >= 0x80;
  });
}

class Parser {
 public:
  Parser(const std::string& text, const std::string& file) : lexer_(text, file) { token_ = lexer_.next(); }

  SyntaxGraph parse() {
    SyntaxGraph graph;
    graph.where = token_.where;
    if (keyword("strict")) throw bad_input("'strict' is not supported", token_.where, "write digraph without it");
    if (keyword("graph")) throw bad_input("the graph is undirected", token_.where, "write digraph");
    if (!keyword("digraph"))
      throw bad_input("expected 'digraph', found " + shown(token_), token_.where, "digraph NAME { ... }");
    take();
    if (is_id()) graph.name = take().text;
    graph.statements = block("");
    if (token_.kind != TokenKind::end)
      throw bad_input("unexpected " + shown(token_) + " after the end of the graph", token_.where,
                      token_.kind == TokenKind::close_brace ? "is there a '}' too many?" : "a file holds one graph");
    return graph;
  }

 private:
  bool keyword(const char* word) const { return token_.kind == TokenKind::keyword && token_.text == word; }
  bool is_id() const {
    return token_.kind == TokenKind::word || token_.kind == TokenKind::number || token_.kind == TokenKind::string;
  }
  Token take() {
    Token taken = std::move(token_);
    token_ = lexer_.next();
    return taken;
  }
  void optional(TokenKind kind) {
    if (token_.kind == kind) take();
  }

  std::vector<Statement> block(const std::string& stage) {
    if (token_.kind != TokenKind::open_brace) throw bad_input("expected '{', found " + shown(token_), token_.where);
    const Where opened = take().where;
    std::vector<Statement> statements;
    while (token_.kind != TokenKind::close_brace) {
      if (token_.kind == TokenKind::end) throw bad_input("this '{' is never closed", opened, "end it with }");
      statements.push_back(statement(stage));
      optional(TokenKind::semicolon);
    }
    take();
    return statements;
  }

  Statement statement(const std::string& stage) {
    Statement s;
    s.where = token_.where;
    count();
    if (token_.kind == TokenKind::keyword && token_.text != "subgraph") {
      const Token word = take();
      if (word.text == "node")
        s.kind = Statement::Kind::node_defaults;
      else if (word.text == "edge")
        s.kind = Statement::Kind::edge_defaults;
      else if (word.text == "graph")
        s.kind = Statement::Kind::graph_attrs;
      else
        throw bad_input("unexpected '" + word.text + "'", word.where, "is a '}' missing before it?");
      if (token_.kind != TokenKind::open_bracket)
        throw bad_input(fmt::format("expected '[' after '{}', found {}", word.text, shown(token_)), token_.where,
                        fmt::format("'{}' is a keyword of DOT: it sets defaults", word.text));
      s.attrs = attr_lists();
      return s;
    }
    if (keyword("subgraph") || token_.kind == TokenKind::open_brace) return subgraph(stage);
    if (!is_id()) refuse_statement();

    const Token first = take();
    if (token_.kind == TokenKind::equals) {
      s.kind = Statement::Kind::graph_attrs;
      s.attrs.push_back(assignment(first));
      return s;
    }
    s.ends.push_back(mention(first));
    while (token_.kind == TokenKind::arrow) {
      take();
      s.kind = Statement::Kind::edge;
      if (keyword("subgraph") || token_.kind == TokenKind::open_brace) refuse_subgraph_end();
      if (!is_id()) throw bad_input("expected a node after '->', found " + shown(token_), token_.where);
      count();
      s.ends.push_back(mention(take()));
    }
    if (token_.kind == TokenKind::undirected) throw bad_input("'--' is an edge of undirected graphs", token_.where, "write ->");
    if (token_.kind == TokenKind::comma)
      throw bad_input("a list of nodes is not supported", token_.where, "write one statement for each node");
    s.attrs = attr_lists();
    return s;
  }

  [[noreturn]] void refuse_statement() {
    if (token_.kind == TokenKind::html) refuse_html();
    if (token_.kind == TokenKind::arrow) throw bad_input("expected a node before '->'", token_.where);
    const bool value_like =
        token_.kind == TokenKind::other || token_.kind == TokenKind::plus || token_.kind == TokenKind::colon;
    throw bad_input("expected a statement, found " + shown(token_), token_.where,
                    value_like ? "quote names and values that hold punctuation" : "");
  }
  [[noreturn]] void refuse_html() { throw bad_input("HTML strings are not supported", token_.where, "write a quoted string"); }
  [[noreturn]] void refuse_subgraph_end() {
    throw bad_input("a subgraph cannot be the end of an edge", token_.where, "write one edge for each node");
  }

  void count() {
    if (++statements_ > kMaxStatements)
      throw bad_input(fmt::format("a graph holds at most {} statements and edges", kMaxStatements), token_.where);
  }

  Mention mention(const Token& token) {
    if (token.kind != TokenKind::string && token_.begin == token.end &&
        (token_.kind == TokenKind::word || token_.kind == TokenKind::number || token_.kind == TokenKind::other)) {
      std::string raw = lexer_.raw_value(token.begin);
      raw.resize(std::min({raw.size(), raw.find_first_of("[{}="), raw.find("->")}));
      throw bad_input(fmt::format("'{}' is not a name", raw), token.where,
                      "names hold letters, digits and _ and start with a letter");
    }
    if (token_.kind == TokenKind::colon)
      throw bad_input("ports are not supported", token_.where, fmt::format("write the node alone: {}", quoted_id(token.text)));
    if (!plain_name(token.text))
      throw bad_input(fmt::format("{} is not a name for a node", quoted_string(clipped(token.text))), token.where,
                      "use letters, digits, _ and -");
    if (is_keyword(token.text))
      throw bad_input(fmt::format("a node cannot be called '{}'", token.text), token.where,
                      fmt::format("--set {}.ATTR=VALUE would mean every {}", token.text, token.text));
    return {token.text, token.where};
  }

  Statement subgraph(const std::string& stage) {
    Statement s;
    s.kind = Statement::Kind::stage;
    s.where = token_.where;
    std::string name;
    if (keyword("subgraph")) {
      take();
      if (is_id()) {
        s.where = token_.where;
        name = take().text;
      }
    }
    static const std::string kPrefix = "cluster_";
    if (name.rfind(kPrefix, 0) != 0 || name.size() == kPrefix.size())
      throw bad_input(name.empty() ? "a subgraph without a name" : fmt::format("subgraph '{}' is not a stage", name), s.where,
                      "stages are called cluster_NAME; other subgraphs are not supported");
    s.stage = name.substr(kPrefix.size());
    if (!plain_name(s.stage) || is_keyword(s.stage))
      throw bad_input(fmt::format("'{}' is not a name for a stage", clipped(s.stage)), s.where, "use letters, digits, _ and -");
    if (!stage.empty())
      throw bad_input(fmt::format("stage '{}' lies inside stage '{}'", s.stage, stage), s.where,
                      "stages do not nest; is a '}' missing before it?");
    s.body = block(s.stage);
    if (token_.kind == TokenKind::arrow) refuse_subgraph_end();
    return s;
  }

  std::vector<SyntaxAttr> attr_lists() {
    std::vector<SyntaxAttr> attrs;
    while (token_.kind == TokenKind::open_bracket) {
      const Token open = take();
      while (token_.kind != TokenKind::close_bracket) {
        if (token_.kind == TokenKind::html) refuse_html();
        if (token_.kind == TokenKind::end || token_.kind == TokenKind::close_brace || token_.kind == TokenKind::keyword ||
            token_.kind == TokenKind::arrow)
          refuse_open_list(open);
        if (!is_id())
          throw bad_input("expected an attribute or ']', found " + shown(token_), token_.where,
                          "quote values that hold blanks or punctuation");
        const Token name = take();
        if (name.text.size() > kMaxName || attrs.size() >= kMaxAttributes)
          throw bad_input(attrs.size() >= kMaxAttributes
                              ? fmt::format("more than {} attributes", kMaxAttributes)
                              : fmt::format("{} is too long a name", quoted_string(clipped(name.text))),
                          name.where);
        if (token_.kind == TokenKind::open_bracket || token_.kind == TokenKind::arrow || token_.kind == TokenKind::end)
          refuse_open_list(open);
        if (token_.kind != TokenKind::equals)
          throw bad_input(fmt::format("attribute '{}' has no value", name.text), name.where,
                          fmt::format("write {}=VALUE; quote values that hold blanks", quoted_id(name.text)));
        SyntaxAttr attr = assignment(name);
        for (const SyntaxAttr& other : attrs)
          if (other.name == attr.name)
            throw bad_input(fmt::format("attribute '{}' is given twice", attr.name), attr.name_at,
                            fmt::format("first in line {}", other.name_at.line));
        attrs.push_back(std::move(attr));
        if (token_.kind == TokenKind::semicolon || token_.kind == TokenKind::comma) take();
      }
      take();
    }
    return attrs;
  }
  [[noreturn]] void refuse_open_list(const Token& open) {
    throw bad_input(fmt::format("this '[' is never closed: ']' is missing before line {}, column {}", token_.where.line,
                                token_.where.column),
                    open.where);
  }

  // The "= value" after a name.
  SyntaxAttr assignment(const Token& name) {
    const Token equals = token_;
    const size_t begin = lexer_.skip_spaces(equals.end);
    // A colour without quotes would be a comment.
    if (const std::string raw = lexer_.raw_value(begin); raw[0] == '#') {
      Where where = equals.where;
      where.column += static_cast<int>(begin - equals.begin);
      refuse_unquoted(name.text, raw, where);
    }
    take();
    SyntaxAttr attr{name.text, {}, name.where, token_.where};
    attr.value = value(name.text);
    return attr;
  }
  [[noreturn]] void refuse_unquoted(const std::string& name, const std::string& raw, const Where& where) {
    throw bad_input(fmt::format("{} is not a DOT value", raw), where,
                    fmt::format("quote it: {}={}", quoted_id(name), quoted_string(raw)));
  }

  std::string value(const std::string& name) {
    switch (token_.kind) {
      case TokenKind::html:
        refuse_html();
      case TokenKind::end:
      case TokenKind::close_bracket:
      case TokenKind::close_brace:
      case TokenKind::comma:
      case TokenKind::semicolon:
        throw bad_input(fmt::format("attribute '{}' has no value", name), token_.where);
      case TokenKind::string: {
        std::string text = take().text;
        while (token_.kind == TokenKind::plus) {
          take();
          if (token_.kind != TokenKind::string)
            throw bad_input("expected a quoted string after '+', found " + shown(token_), token_.where);
          text += take().text;
          if (text.size() > kMaxString)
            throw bad_input(fmt::format("the value of '{}' is longer than {} bytes", name, kMaxString), token_.where);
        }
        return text;
      }
      default:
        break;
    }
    const size_t begin = token_.begin;
    const Where where = token_.where;
    const bool id = is_id();
    const Token token = token_;
    if (id) take();
    const bool ends = token_.begin > token.end || token_.kind == TokenKind::end || token_.kind == TokenKind::comma ||
                      token_.kind == TokenKind::semicolon || token_.kind == TokenKind::close_bracket ||
                      token_.kind == TokenKind::close_brace;
    if (id && ends) return token.text;
    refuse_unquoted(name, lexer_.raw_value(begin), where);
  }

  Lexer lexer_;
  Token token_;
  size_t statements_ = 0;
};

}  // namespace

SyntaxGraph parse_syntax(const std::string& text, const std::string& file) { return Parser(text, file).parse(); }

}  // namespace r1::graph
