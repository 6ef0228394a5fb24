// --set TARGET.ATTR=VALUE.
#include <fmt/format.h>

#include <algorithm>

#include "base/utf8_text.h"
#include "runtime/graph/attributes.h"
#include "runtime/graph/draft.h"

namespace r1 {

Override parse_override(const std::string& text) {
  const Where where{"--set " + text};
  const std::string hint = "TARGET.ATTR=VALUE; a target is a node, a stage, graph, node or edge";
  if (utf8_text(text) != text)
    throw bad_input("this is not UTF-8", where, "a file of such a name is reached by a link with another one: ln -s");
  const size_t equals = text.find('=');
  if (equals == std::string::npos) throw bad_input("there is no '='", where, hint);
  const size_t dot = text.rfind('.', equals);
  if (dot == std::string::npos) throw bad_input("there is no '.' before the '='", where, hint);
  const auto trimmed = [](const std::string& s) {
    const size_t first = s.find_first_not_of(" \t"), last = s.find_last_not_of(" \t");
    return first == std::string::npos ? std::string() : s.substr(first, last - first + 1);
  };
  Override o{trimmed(text.substr(0, dot)), trimmed(text.substr(dot + 1, equals - dot - 1)), text.substr(equals + 1)};
  if (const size_t arrow = o.target.find("->"); arrow != std::string::npos)
    o.target = trimmed(o.target.substr(0, arrow)) + " -> " + trimmed(o.target.substr(arrow + 2));
  if (o.target.empty()) throw bad_input("there is no target before the '.'", where, hint);
  if (o.attr.empty()) throw bad_input("there is no attribute after the '.'", where, hint);
  return o;
}

namespace graph {

namespace {

Where where_of(const Override& o) { return {fmt::format("--set {}.{}={}", o.target, o.attr, o.value)}; }

// A stage of this name whose own attribute is meant, or all that lies in it. A node of the same name comes first.
const StagePlan* stage_target(const GraphView& view, const Override& o) {
  return view.node(o.target) ? nullptr : view.stage(o.target);
}

// `stage`: its stage_target.
bool means_node(const GraphView& view, const Override& o, const StagePlan* stage, const NodePlan& node,
                const RoleRegistry& registry) {
  if (o.target == "node" || o.target == node.id) return true;
  return stage && !find_attr(registry.stage_attrs, o.attr) && node.stage >= 0 && &view.stages[node.stage] == stage;
}

bool means_edge(const GraphView& view, const Override& o, const StagePlan* stage, const EdgePlan& edge,
                const RoleRegistry& registry) {
  if (o.target == "edge" || o.target == view.edge_name(edge)) return true;
  if (!stage || find_attr(registry.stage_attrs, o.attr)) return false;
  const int from = view.nodes[edge.from].stage, to = view.nodes[edge.to].stage;
  return from == to && from >= 0 && &view.stages[from] == stage;
}

void refuse_unknown_target(const GraphView& view, const Override& o) {
  std::vector<std::string> known = {"graph", "node", "edge"};
  for (const NodePlan& node : view.nodes) known.push_back(node.id);
  for (const StagePlan& stage : view.stages) known.push_back(stage.name);
  const bool edge = o.target.find("->") != std::string::npos;
  if (edge) {
    known.clear();
    for (const EdgePlan& e : view.edges) known.push_back(view.edge_name(e));
  }
  if (std::find(known.begin(), known.end(), o.target) != known.end()) return;
  std::string hint = suggestion(o.target, known, false);
  if (hint.empty() && !edge) {
    std::vector<std::string> stages;
    for (const StagePlan& stage : view.stages) stages.push_back(stage.name);
    hint = fmt::format("a node, graph, node, edge, or one of the stages {}", listed(stages, "and"));
  }
  throw bad_input(fmt::format("there is no {} '{}' in the graph", edge ? "edge" : "node or stage", o.target), where_of(o),
                  hint);
}

std::string which_attribute(const GraphView& view, const Override& o, const RoleRegistry& registry) {
  std::vector<std::string> names;
  const auto add = [&](const std::vector<AttrSpec>& specs) {
    for (const AttrSpec& spec : specs) names.push_back(spec.name);
  };
  if (o.target == "graph") add(registry.graph_attrs);
  const StagePlan* target = stage_target(view, o);
  if (target) add(registry.stage_attrs);
  Override any = o;
  any.attr.clear();
  for (const NodePlan& node : view.nodes)
    if (means_node(view, any, target, node, registry)) add(registry.find(node.role)->attrs);
  for (const EdgePlan& edge : view.edges)
    if (means_edge(view, any, target, edge, registry)) add(edge_specs(view, edge, registry));
  return suggestion(o.attr, names, false);
}

}  // namespace

void OverrideSet::apply_to_nodes(GraphView& view, const RoleRegistry& registry) {
  for (size_t i = 0; i < overrides_.size(); ++i) {
    const Override& o = overrides_[i];
    refuse_unknown_target(view, o);
    if (o.attr == "role" || o.attr == "kind" || o.attr == "carries")
      throw bad_input(fmt::format("'{}' is part of the graph's shape", o.attr), where_of(o), "change the graph file");
    const Attr attr{o.value, where_of(o), /*overridden=*/true};
    if (o.target == "graph" && find_attr(registry.graph_attrs, o.attr)) {
      view.attrs.given[o.attr] = attr;
      ++hits_[i];
    }
    const StagePlan* target = stage_target(view, o);
    for (StagePlan& stage : view.stages)
      if (target == &stage && find_attr(registry.stage_attrs, o.attr)) {
        stage.attrs.given[o.attr] = attr;
        ++hits_[i];
      }
    for (NodePlan& node : view.nodes)
      if (means_node(view, o, target, node, registry) && find_attr(registry.find(node.role)->attrs, o.attr)) {
        node.attrs.given[o.attr] = attr;
        node.attrs.given[o.attr].shared = o.target != node.id;
        ++hits_[i];
      }
  }
}

void OverrideSet::apply_to_edges(GraphView& view, const RoleRegistry& registry) {
  for (size_t i = 0; i < overrides_.size(); ++i) {
    const Override& o = overrides_[i];
    const StagePlan* target = stage_target(view, o);
    for (EdgePlan& edge : view.edges)
      if (means_edge(view, o, target, edge, registry) && find_attr(edge_specs(view, edge, registry), o.attr)) {
        edge.attrs.given[o.attr] = {o.value, where_of(o), true};
        ++hits_[i];
      }
    if (hits_[i] > 0) continue;
    std::string owner = o.target == "graph" ? "the graph" : "no " + o.target;
    if (o.target == "node" || o.target == "edge")
      throw bad_input(fmt::format("no {} has an attribute '{}'", o.target, o.attr), where_of(o),
                      which_attribute(view, o, registry));
    if (const NodePlan* node = view.node(o.target))
      owner = with_article(node->role);
    else if (view.stage(o.target))
      owner = fmt::format("neither stage '{}' nor anything in it", o.target);
    else if (o.target != "graph")
      owner = "this edge";
    const bool neither = owner.rfind("neither", 0) == 0;
    throw bad_input(fmt::format("{} has {} attribute '{}'", owner, neither ? "an" : "no", o.attr), where_of(o),
                    which_attribute(view, o, registry));
  }
}

}  // namespace graph
}  // namespace r1
