// The steps between syntax and a checked GraphView. Internal to runtime/graph; load_graph_text() calls them in this order:
// draft_graph, OverrideSet::apply_to_nodes, check_nodes, connect_edges, OverrideSet::apply_to_edges, check_edges, arrange.
// Each throws bad_input with line, column and a hint.
// Thread rule: values; one thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/graph/graph.h"
#include "runtime/graph/syntax.h"

namespace r1::graph {

// One attribute of a `node [..]`, `edge [..]` or `graph [..]` block.
struct Default {
  SyntaxAttr attr;
  Statement::Kind kind = Statement::Kind::node_defaults;
  bool matched = false;  // something in its scope has the attribute
};

struct EdgeDraft {
  std::shared_ptr<const std::vector<SyntaxAttr>> attrs;  // the statement's own, the same for all edges of a chain
  std::vector<Default*> defaults;                        // in scope, oldest first; a later one of the same name wins
};

struct Draft {
  GraphView view;                            // order of declaration, edges without `carries` and attributes
  std::vector<EdgeDraft> edges;              // like view.edges
  std::deque<Default> defaults;              // stable addresses
  std::vector<std::vector<PortSpec>> ports;  // like view.nodes; filled by connect_edges (a role's ports_of may read files)
  size_t attr_bytes = 0;

  // Gives `to` the attribute; `shared`: as a default. Throws bad_input when all that were given take too much memory: a default
  // goes to every node.
  void give(const SyntaxAttr& attr, Attrs& to, bool shared = false);
};

// Nodes with roles and attributes, stages, edge ends; no types yet.
Draft draft_graph(const SyntaxGraph&, const std::string& file, const RoleRegistry&);
// Types of graph, stage and node attributes; attributes that have no effect beside others go, or are refused.
void check_nodes(Draft&, const RoleRegistry&);
// Resolves what each edge carries, gives edges their attributes.
void connect_edges(Draft&, const RoleRegistry&);
// Types of edge attributes; required and exclusive ports; unconnected nodes.
void check_edges(const Draft&, const RoleRegistry&);
// Orders stages, brings nodes and edges into canonical order, fills the indices.
void arrange(GraphView&);

// A default that nothing in its scope can have: bad_input.
void refuse_unmatched(const Draft&, Statement::Kind, const RoleRegistry&);

// The specs of the attributes that this edge may have (both ends' edge_attrs, those of its payload kind); first one of a name
// wins.
std::vector<AttrSpec> edge_specs(const GraphView&, const EdgePlan&, const RoleRegistry&);

class OverrideSet {
 public:
  OverrideSet(const std::vector<Override>& overrides) : overrides_(overrides), hits_(overrides.size(), 0) {}
  void apply_to_nodes(GraphView&, const RoleRegistry&);  // graph, stages, nodes; refuses unknown targets
  void apply_to_edges(GraphView&, const RoleRegistry&);  // edges; then refuses attributes that nothing had
 private:
  const std::vector<Override>& overrides_;
  std::vector<int> hits_;
};

}  // namespace r1::graph
