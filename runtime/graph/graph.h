// A graph file as data: nodes, edges, stages, attributes - parsed, defaulted, overridden, type-checked.
// Knows roles only through the RoleRegistry that actors/ fills in. No actor, no file but the graph file.
//
// Thread rule: values; parse and check in one thread.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace r1 {

// ---- what roles declare ----------------------------------------------------------------------------------------------

enum class AttrType { text, integer, number, flag, choice };  // number: "lr" = "2e-4"; flag: true/false

// Whether a run may be continued with another value: never; with --change, from the next batch on, journaled in the run store;
// or freely, where it changes nothing that is trained.
enum class AttrChange { never, journaled, free };

// An attribute that has an effect only where another one of the same node has one of these values.
struct AttrCondition {
  std::string attr;                 // "objective"
  std::vector<std::string> values;  // {"grpo"}; empty: there is no condition
};

struct AttrSpec {
  std::string name;
  AttrType type = AttrType::text;
  std::string fallback;  // default value as text; "" with required=false: absent
  bool required = false;
  std::string doc;                         // one line, with unit
  std::optional<double> min, max;          // for integer and number, inclusive
  bool or_zero = false;                    // 0 is allowed too, below min
  std::vector<std::string> choices;        // for choice
  std::vector<std::string> only_carrying;  // for edge_attrs: the payload kinds of the edges that have it; empty: any
  AttrChange change = AttrChange::never;
  // Where it is not met, an attribute of a node that was given to it alone is refused, and one that was meant for whoever can
  // use it (a default, --set of a stage or of all nodes) does not reach the node.
  AttrCondition only_with;
};

// Which versions of its stage's weights a node is sent: each, every N-th (attribute `every` of the edge; 0: none), or the last
// one of the stage.
enum class Versions { each, every, last };

// A payload kind is what a channel carries: "prompts", "trajectories", "scored", "groups", "examples", "pairs", "weights",
// "model", "dataset", "metrics".
struct PortSpec {
  std::string carries;
  bool input = true;
  bool required = false;               // an input that must be connected
  bool many = false;                   // more than one edge may end (or start) here
  bool crosses = false;                // may be an edge between stages (carries a finished artifact)
  bool inside = true;                  // may be a live channel inside a stage
  Versions versions = Versions::each;  // of an input that is fed with versions of weights
};

struct GraphView;
struct NodePlan;

struct RoleSpec {
  std::string name;  // "generator"
  std::string doc;
  std::vector<AttrSpec> attrs;
  std::vector<AttrSpec> edge_attrs;  // attributes that edges ending or starting here may have (staleness, every, as, capacity)
  std::vector<PortSpec> ports;       // with ports_of: all that are possible (hints are made from them)
  // Ports may depend on attributes (a prompter gives prompts, examples or pairs depending on its source). Optional.
  std::function<std::vector<PortSpec>(const NodePlan&)> ports_of;
  // How ports_of would give one of `wanted` (payload kinds): the hint of an edge that does not fit; "" when nothing is known.
  // Optional.
  std::function<std::string(const NodePlan&, const std::vector<std::string>& wanted)> how_to_give;
  // Role-specific checks after types are known (files exist, expressions parse, ...). Throws bad_input. Optional.
  std::function<void(const GraphView&, const NodePlan&)> check;
};

struct RoleRegistry {
  std::vector<RoleSpec> roles;        // role=...
  std::vector<RoleSpec> artifacts;    // kind=model | dataset
  std::vector<AttrSpec> stage_attrs;  // attributes of subgraph cluster_X (graph [..] in it): until limits, ...
  std::vector<AttrSpec> graph_attrs;  // of the digraph: seed, precision, ...
  bool recorded = false;              // graphs of runs that began: what has no effect is left out, not refused
  const RoleSpec* find(const std::string& role) const;  // a role or an artifact kind; null when there is none
};

// ---- the graph ---------------------------------------------------------------------------------------------------------

struct Attr {
  std::string value;
  Where where;              // of the value (its opening quote when quoted); {"--set ..."} when overridden
  bool overridden = false;  // by --set
  bool shared = false;      // meant for all that can use it: a default, or --set of a stage or of all nodes
};
struct Attrs {
  std::map<std::string, Attr> given;  // explicit, by defaults blocks or --set
  std::map<std::string, std::string> fallback;
  bool has(const std::string& name) const;          // given or with a non-empty fallback
  std::string text(const std::string& name) const;  // CHECK that the role declares it
  int64_t integer(const std::string& name) const;
  double number(const std::string& name) const;
  bool flag(const std::string& name) const;
  Where where(const std::string& name) const;  // {} when not given
};

struct NodePlan {
  std::string id;
  std::string role;  // or the artifact's kind
  bool artifact = false;
  int stage = -1;  // index into GraphView::stages; -1 for artifacts outside stages
  Attrs attrs;
  Where where;
  std::vector<int> in_edges, out_edges;  // indices into GraphView::edges
};
struct EdgePlan {
  int index = 0;
  int from = 0, to = 0;                // indices into GraphView::nodes
  std::string carries;                 // resolved payload kind
  bool crosses = false;                // between stages, or from an artifact wherever it is drawn: a finished artifact
  Versions versions = Versions::each;  // what the port at its end wants of what it carries
  Attrs attrs;                         // capacity, staleness, every, as, ...
  Where where;
};
struct StagePlan {
  std::string name;   // "rl1" of cluster_rl1
  std::string label;  // the stage's name when not given; never part of a difference
  std::vector<int> nodes;
  std::vector<int> after;  // stages that must be complete first
  Attrs attrs;
  Where where;
};
// Nodes are in canonical order: artifacts outside stages, then stage by stage in order of declaration. Edges: those inside a
// stage, stage by stage, then the crossing ones, each in order of declaration. So loading graph_dot() gives the same indices.
struct GraphView {
  std::string name;  // digraph NAME
  std::string file;
  std::vector<NodePlan> nodes;
  std::vector<EdgePlan> edges;
  std::vector<StagePlan> stages;  // in a topological order, ties by order in the file
  Attrs attrs;
  const NodePlan* node(const std::string& id) const;
  const StagePlan* stage(const std::string& name) const;
  std::string edge_name(const EdgePlan&) const;  // "rl1_policy -> rl1_judge"
};

struct Override {
  // --set TARGET.ATTR=VALUE; target: a node id, a stage, one edge ("a->b"), "graph", "node" or "edge"
  std::string target, attr, value;
};
Override parse_override(const std::string& text);  // throws bad_input

// Reads, applies defaults and overrides, resolves what each edge carries, checks types, orders stages, runs the roles' checks.
// Throws bad_input with file, line, column and a hint.
GraphView load_graph(const std::filesystem::path& file, const RoleRegistry&, const std::vector<Override>& = {});
GraphView load_graph_text(const std::string& text, const std::string& name, const RoleRegistry&,
                          const std::vector<Override>& = {});

// The effective graph: canonical DOT with every given attribute and override; loading it gives an equal graph, and printing
// that gives the same text. `annotate`: adds labels that show role, key attributes and payload kinds, and cosmetics (r1-run
// --draw).
std::string graph_dot(const GraphView&, const RoleRegistry&, bool annotate);
// A line-by-line difference of two effective graphs in terms of nodes and attributes ("rl1_trainer.lr: 2e-4 -> 1e-4"); empty
// when equal.
std::vector<std::string> graph_difference(const GraphView& a, const GraphView& b);
// Every role with its ports and attributes (default, range, meaning) as text for a terminal (r1-run --help-roles).
std::string describe_roles(const RoleRegistry&);

}  // namespace r1
