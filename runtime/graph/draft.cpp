#include "runtime/graph/draft.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "runtime/graph/attributes.h"

namespace r1::graph {

namespace {

using StatementKind = Statement::Kind;

constexpr size_t kMaxDefaults = 256;
constexpr size_t kMaxAttrBytes = size_t{256} << 20;

// The roles (or kinds) that declare `name`, as a hint: "a generator has it".
std::string who_has(const std::string& name, const RoleRegistry& registry) {
  std::vector<std::string> owners;
  for (const auto* list : {&registry.roles, &registry.artifacts})
    for (const RoleSpec& spec : *list)
      if (find_attr(spec.attrs, name)) owners.push_back(with_article(spec.name));
  if (owners.empty()) return {};
  return listed(owners, "and") + (owners.size() == 1 ? " has it" : " have it");
}

std::vector<std::string> role_names(const std::vector<RoleSpec>& specs) {
  std::vector<std::string> names;
  for (const RoleSpec& spec : specs) names.push_back(spec.name);
  return names;
}

class Builder {
 public:
  Builder(const RoleRegistry& registry, Draft& draft) : registry_(registry), draft_(draft) {}

  void build(const SyntaxGraph& syntax, const std::string& file) {
    GraphView& view = draft_.view;
    view.file = file;
    view.name = syntax.name;
    declare(registry_.graph_attrs, view.attrs);
    find_declarations(syntax.statements, -1);
    std::vector<Default*> scope;
    walk(syntax.statements, -1, scope);
    if (view.stages.empty())
      throw bad_input("the graph has no stage", syntax.where, "a stage is subgraph cluster_NAME { ... }");
    for (const StagePlan& stage : view.stages) {
      const bool has_role = std::any_of(stage.nodes.begin(), stage.nodes.end(), [&](int n) { return !view.nodes[n].artifact; });
      if (!has_role) throw bad_input(fmt::format("stage '{}' has no role", stage.name), stage.where, "NODE [role=...]");
    }
    refuse_unmatched(draft_, StatementKind::node_defaults, registry_);
    refuse_unmatched(draft_, StatementKind::graph_attrs, registry_);
  }

 private:
  struct Declaration {
    Where where;
    std::string stage;  // "" outside
  };

  // All declarations of the file, so that a use that comes too early can say where the declaration is.
  void find_declarations(const std::vector<Statement>& statements, int depth, const std::string& stage = "") {
    for (const Statement& s : statements) {
      if (s.kind == StatementKind::node) declarations_.emplace(s.ends[0].id, Declaration{s.where, stage});
      if (s.kind == StatementKind::stage) find_declarations(s.body, depth + 1, s.stage);
    }
  }

  void walk(const std::vector<Statement>& statements, int stage, std::vector<Default*>& scope) {
    for (const Statement& s : statements) {
      switch (s.kind) {
        case StatementKind::node:
          add_node(s, stage, scope);
          break;
        case StatementKind::edge:
          add_edges(s, stage, scope);
          break;
        case StatementKind::node_defaults:
        case StatementKind::edge_defaults:
          add_defaults(s, scope);
          break;
        case StatementKind::graph_attrs:
          add_graph_attrs(s, stage, scope);
          break;
        case StatementKind::stage:
          add_stage(s, scope);
          break;
      }
    }
  }

  void add_stage(const Statement& s, const std::vector<Default*>& scope) {
    GraphView& view = draft_.view;
    const int index = static_cast<int>(view.stages.size());
    if (const auto [other, fresh] = stages_.emplace(s.stage, index); !fresh)
      throw bad_input(fmt::format("there are two stages called '{}'", s.stage), s.where,
                      fmt::format("the first is in line {}", view.stages[other->second].where.line));
    StagePlan stage;
    stage.name = stage.label = s.stage;
    stage.where = s.where;
    declare(registry_.stage_attrs, stage.attrs);
    for (Default* d : scope) {
      if (d->kind != StatementKind::graph_attrs || !find_attr(registry_.stage_attrs, d->attr.name)) continue;
      d->matched = true;
      draft_.give(d->attr, stage.attrs);
    }
    view.stages.push_back(std::move(stage));
    std::vector<Default*> inner = scope;
    walk(s.body, index, inner);
  }

  void add_defaults(const Statement& s, std::vector<Default*>& scope) {
    for (const SyntaxAttr& attr : s.attrs) {
      if (attr.name == "carries")
        throw bad_input("'carries' cannot be a default", attr.name_at, "write it at each edge that needs it");
      add_default({attr, s.kind}, scope);
    }
  }

  // Every node and edge looks at each of them.
  void add_default(Default added, std::vector<Default*>& scope) {
    if (scope.size() >= kMaxDefaults)
      throw bad_input(fmt::format("more than {} defaults in one scope", kMaxDefaults), added.attr.name_at);
    draft_.defaults.push_back(std::move(added));
    scope.push_back(&draft_.defaults.back());
  }

  void add_graph_attrs(const Statement& s, int stage, std::vector<Default*>& scope) {
    for (const SyntaxAttr& attr : s.attrs) {
      if (stage >= 0) {
        StagePlan& plan = draft_.view.stages[stage];
        if (find_attr(registry_.stage_attrs, attr.name))
          draft_.give(attr, plan.attrs);
        else if (attr.name == "label")
          plan.label = attr.value;
        else if (!is_cosmetic(attr.name))
          refuse_graph_attr(attr, "a stage", registry_.stage_attrs);
        continue;
      }
      const bool of_graph = find_attr(registry_.graph_attrs, attr.name),
                 of_stages = find_attr(registry_.stage_attrs, attr.name);
      if (of_graph) draft_.give(attr, draft_.view.attrs);
      if (of_stages) add_default({attr, s.kind, of_graph}, scope);
      if (!of_graph && !of_stages && !is_cosmetic(attr.name)) {
        std::vector<AttrSpec> both = registry_.graph_attrs;
        both.insert(both.end(), registry_.stage_attrs.begin(), registry_.stage_attrs.end());
        refuse_graph_attr(attr, "the graph", both);
      }
    }
  }

  [[noreturn]] void refuse_graph_attr(const SyntaxAttr& attr, const std::string& owner, const std::vector<AttrSpec>& specs) {
    std::string hint = who_has(attr.name, registry_);
    if (!hint.empty())
      hint += fmt::format(": node [{}=...]", attr.name);
    else
      hint = suggestion(attr.name, names_of(specs), true);
    throw bad_input(fmt::format("{} has no attribute '{}'", owner, attr.name), attr.name_at, hint);
  }

  void add_node(const Statement& s, int stage, const std::vector<Default*>& scope) {
    GraphView& view = draft_.view;
    NodePlan node;
    node.id = s.ends[0].id;
    node.where = s.where;
    node.stage = stage;
    const int index = static_cast<int>(view.nodes.size());
    if (const auto [other, fresh] = nodes_.emplace(node.id, index); !fresh)
      throw bad_input(fmt::format("node '{}' is declared twice", node.id), s.where,
                      fmt::format("first in line {}", view.nodes[other->second].where.line));
    const RoleSpec& spec = find_role(s, scope, node);
    if (!node.artifact && stage < 0)
      throw bad_input(fmt::format("node '{}' ({}) lies outside every stage", node.id, node.role), s.where,
                      "declare it inside subgraph cluster_NAME { ... }");
    declare(spec.attrs, node.attrs);
    for (Default* d : scope) {
      if (d->kind != StatementKind::node_defaults) continue;
      if (!find_attr(spec.attrs, d->attr.name)) continue;
      d->matched = true;
      draft_.give(d->attr, node.attrs, /*shared=*/true);
    }
    for (const SyntaxAttr& attr : s.attrs) {
      if (find_attr(spec.attrs, attr.name)) {
        draft_.give(attr, node.attrs);
      } else if (attr.name != "role" && attr.name != "kind" && !is_cosmetic(attr.name)) {
        std::string hint = suggestion(attr.name, names_of(spec.attrs), false);
        if (const std::string others = who_has(attr.name, registry_); !others.empty()) hint = others;
        if (hint.empty()) hint = suggestion(attr.name, {}, true);
        throw bad_input(fmt::format("{} has no attribute '{}'", with_article(spec.name), attr.name), attr.name_at, hint);
      }
    }
    if (stage >= 0) view.stages[stage].nodes.push_back(index);
    view.nodes.push_back(std::move(node));
  }

  // The node's role or kind: its own, otherwise the newest default in scope.
  const RoleSpec& find_role(const Statement& s, const std::vector<Default*>& scope, NodePlan& node) {
    const SyntaxAttr* chosen = nullptr;
    for (Default* d : scope)
      if (d->kind == StatementKind::node_defaults && (d->attr.name == "role" || d->attr.name == "kind"))
        chosen = &d->attr, d->matched = true;
    const SyntaxAttr* own = nullptr;
    for (const SyntaxAttr& attr : s.attrs) {
      if (attr.name != "role" && attr.name != "kind") continue;
      if (own)
        throw bad_input(fmt::format("node '{}' has both a role and a kind", node.id), attr.name_at, "an artifact has no role");
      own = &attr;
    }
    if (own) chosen = own;
    if (!chosen)
      throw bad_input(
          fmt::format("node '{}' has neither role nor kind", node.id), s.where,
          fmt::format("{} [role=...] for an actor, [kind=...] for {}", node.id, listed(role_names(registry_.artifacts), "or")));
    node.role = chosen->value;
    node.artifact = chosen->name == "kind";
    const auto& specs = node.artifact ? registry_.artifacts : registry_.roles;
    for (const RoleSpec& spec : specs)
      if (spec.name == node.role) return spec;
    std::string hint = suggestion(node.role, role_names(specs), false);
    if (registry_.find(node.role)) hint = fmt::format("write {}={}", node.artifact ? "role" : "kind", node.role);
    if (hint.empty()) hint = fmt::format("{}s are {}", chosen->name, listed(role_names(specs), "and"));
    throw bad_input(fmt::format("there is no {} '{}'", chosen->name, node.role), chosen->value_at, hint);
  }

  int declared(const Mention& mention, int stage) {
    const GraphView& view = draft_.view;
    const auto it = declarations_.find(mention.id);
    if (it == declarations_.end()) {
      std::vector<std::string> ids;
      for (const auto& [id, declaration] : declarations_) ids.push_back(id);
      throw bad_input(fmt::format("node '{}' is not declared", mention.id), mention.where, suggestion(mention.id, ids, false));
    }
    const std::string here = stage < 0 ? "" : view.stages[stage].name;
    const Declaration& declaration = it->second;
    if (stage >= 0 && declaration.stage != here)
      throw bad_input(fmt::format("stage '{}' mentions node '{}', declared in line {} outside it", here, mention.id,
                                  declaration.where.line),
                      mention.where, "write this edge outside of the stages: in DOT a mention claims the node");
    if (const auto node = nodes_.find(mention.id); node != nodes_.end()) return node->second;
    throw bad_input(fmt::format("node '{}' is used before it is declared", mention.id), mention.where,
                    fmt::format("move this edge below line {}", declaration.where.line));
  }

  void add_edges(const Statement& s, int stage, const std::vector<Default*>& scope) {
    GraphView& view = draft_.view;
    std::vector<int> ends;
    for (const Mention& mention : s.ends) ends.push_back(declared(mention, stage));
    const auto attrs = std::make_shared<const std::vector<SyntaxAttr>>(s.attrs);
    for (size_t i = 0; i + 1 < ends.size(); ++i) {
      EdgePlan edge;
      edge.from = ends[i];
      edge.to = ends[i + 1];
      edge.where = s.ends[i].where;
      if (edge.from == edge.to)
        throw bad_input(fmt::format("{}: an edge from a node to itself", view.edge_name(edge)), edge.where);
      if (view.nodes[edge.to].artifact)
        throw bad_input(fmt::format("{}: nothing flows into {}", view.edge_name(edge), with_article(view.nodes[edge.to].role)),
                        edge.where, "artifacts only give; trainers save their checkpoints by themselves");
      const NodePlan &from = view.nodes[edge.from], &to = view.nodes[edge.to];
      edge.crosses = from.artifact || from.stage != to.stage;
      EdgeDraft draft;
      draft.attrs = attrs;
      for (Default* d : scope)
        if (d->kind == StatementKind::edge_defaults) draft.defaults.push_back(d);
      view.edges.push_back(edge);
      draft_.edges.push_back(std::move(draft));
    }
  }

  const RoleRegistry& registry_;
  Draft& draft_;
  std::map<std::string, Declaration> declarations_;
  std::unordered_map<std::string, int> nodes_, stages_;  // declared so far, by name
};

}  // namespace

void Draft::give(const SyntaxAttr& attr, Attrs& to, bool shared) {
  attr_bytes += attr.name.size() + attr.value.size() + sizeof(Attr);
  if (attr_bytes > kMaxAttrBytes)
    throw bad_input(fmt::format("the attributes of all nodes and edges take more than {} MiB", kMaxAttrBytes >> 20),
                    attr.value_at, "a default is given to every node behind it");
  to.given[attr.name] = {attr.value, attr.value_at, /*overridden=*/false, shared};
}

Draft draft_graph(const SyntaxGraph& syntax, const std::string& file, const RoleRegistry& registry) {
  Draft draft;
  Builder(registry, draft).build(syntax, file);
  return draft;
}

void refuse_unmatched(const Draft& draft, Statement::Kind kind, const RoleRegistry& registry) {
  const bool edges = kind == StatementKind::edge_defaults, stages = kind == StatementKind::graph_attrs;
  for (const Default& d : draft.defaults) {
    if (d.kind != kind || d.matched || is_cosmetic(d.attr.name)) continue;
    const std::string what = edges ? "edge" : stages ? "stage" : "node";
    std::vector<std::string> names;
    for (const auto* list : {&registry.roles, &registry.artifacts})
      for (const RoleSpec& spec : *list)
        for (const AttrSpec& attr : edges ? spec.edge_attrs : spec.attrs) names.push_back(attr.name);
    std::string hint = suggestion(d.attr.name, names, true);
    if (std::find(names.begin(), names.end(), d.attr.name) != names.end() || stages)
      hint = fmt::format("defaults apply to what is declared after them, inside the same braces");
    throw bad_input(fmt::format("no {} after this default has an attribute '{}'", what, d.attr.name), d.attr.name_at, hint);
  }
}

static void settle_conditions(const std::vector<AttrSpec>& specs, NodePlan& node, bool recorded) {
  for (const AttrSpec& spec : specs) {
    const AttrCondition& only = spec.only_with;
    const auto given = node.attrs.given.find(spec.name);
    if (only.values.empty() || given == node.attrs.given.end()) continue;
    const std::string value = node.attrs.text(only.attr);
    if (std::find(only.values.begin(), only.values.end(), value) != only.values.end()) continue;
    // --set switched off what the file had turned on: its attributes go with it.
    const auto other = node.attrs.given.find(only.attr);
    const bool switched = other != node.attrs.given.end() && other->second.overridden && !given->second.overridden;
    if (!given->second.shared && !switched && !recorded && given->second.value != spec.fallback)
      throw bad_input(fmt::format("{}.{} has no effect with {}={}", node.id, spec.name, only.attr, value), given->second.where,
                      fmt::format("remove it: it is for {}={}", only.attr, listed(only.values, "or")));
    node.attrs.given.erase(given);
  }
}

void check_nodes(Draft& draft, const RoleRegistry& registry) {
  GraphView& view = draft.view;
  check_values(registry.graph_attrs, view.attrs, "graph", {view.file});
  for (const StagePlan& stage : view.stages) check_values(registry.stage_attrs, stage.attrs, stage.name, stage.where);
  for (NodePlan& node : view.nodes) {
    const RoleSpec* spec = registry.find(node.role);
    check_values(spec->attrs, node.attrs, node.id, node.where);
    settle_conditions(spec->attrs, node, registry.recorded);
  }
}

}  // namespace r1::graph
