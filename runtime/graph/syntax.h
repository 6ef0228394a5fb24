// Tokens -> statements of the DOT subset. Knows the grammar and what of DOT is refused; no roles, no meaning.
//
//   graph     := "digraph" [ID] "{" { statement [";"] } "}" end
//   statement := ID attrs | ID "->" ID { "->" ID } attrs | ("node" | "edge" | "graph") attrs | ID "=" value
//              | "subgraph" cluster_NAME "{" { statement [";"] } "}"
//   attrs     := { "[" { ID "=" value [";" | ","] } "]" }
//   value     := ID | string { "+" string }
//
// Refused although DOT: strict, undirected graphs, ports, HTML strings, subgraphs that are not stages, nested ones and as edge
// ends. Thread rule: values.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace r1::graph {

struct SyntaxAttr {
  std::string name, value;
  Where name_at, value_at;
};

struct Mention {
  std::string id;
  Where where;
};

struct Statement {
  enum class Kind { node, edge, node_defaults, edge_defaults, graph_attrs, stage };
  Kind kind = Kind::node;
  Where where;
  std::vector<Mention> ends;  // node: one; edge: two or more
  std::vector<SyntaxAttr> attrs;
  std::string stage;            // NAME of cluster_NAME
  std::vector<Statement> body;  // of a stage
};

struct SyntaxGraph {
  std::string name;  // "" when the file gives none
  Where where;
  std::vector<Statement> statements;
};

// Throws bad_input with line and column.
SyntaxGraph parse_syntax(const std::string& text, const std::string& file);

}  // namespace r1::graph
