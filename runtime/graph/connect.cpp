// What each edge carries, from the ports of its two ends; edge attributes; which ports must be connected, and how often.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "runtime/graph/attributes.h"
#include "runtime/graph/draft.h"

namespace r1::graph {

namespace {

std::vector<PortSpec> ports_of(const NodePlan& node, const RoleRegistry& registry) {
  const RoleSpec* spec = registry.find(node.role);
  return spec->ports_of ? spec->ports_of(node) : spec->ports;
}

// May `port` be an end of an edge that crosses (or not)? What an artifact gives is finished, wherever it is drawn.
bool fits(const PortSpec& port, const NodePlan& from, bool crosses) {
  return from.artifact || (crosses ? port.crosses : port.inside);
}

std::vector<std::string> kinds(const std::vector<PortSpec>& ports, bool input, bool crosses) {
  std::vector<std::string> fitting, all;
  for (const PortSpec& port : ports) {
    if (port.input != input) continue;
    for (auto* list : {&all, &fitting}) {
      if (list == &fitting && !(crosses ? port.crosses : port.inside)) continue;
      if (std::find(list->begin(), list->end(), port.carries) == list->end()) list->push_back(port.carries);
    }
  }
  return fitting.empty() ? all : fitting;
}

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

class Connector {
 public:
  Connector(const Draft& draft, const EdgePlan& edge, const RoleRegistry& registry)
      : edge_(edge),
        registry_(registry),
        from_(draft.view.nodes[edge.from]),
        to_(draft.view.nodes[edge.to]),
        outs_(draft.ports[edge.from]),
        ins_(draft.ports[edge.to]),
        name_(draft.view.edge_name(edge)) {}

  std::string resolve(const SyntaxAttr* asked) const {
    const std::vector<std::string> possible = candidates(false);
    if (asked) {
      if (contains(possible, asked->value)) return asked->value;
      refuse_asked(*asked);
    }
    if (possible.empty()) refuse();
    if (possible.size() > 1)
      throw bad_input(fmt::format("{}: this edge could carry {}", name_, listed(possible, "or")), edge_.where,
                      fmt::format("say which: [carries={}]", possible[0]));
    return possible[0];
  }

 private:
  // Payload kinds that `from` gives and `to` takes; `anywhere`: wherever the edge lies.
  std::vector<std::string> candidates(bool anywhere) const {
    std::vector<std::string> found;
    for (const PortSpec& out : outs_)
      for (const PortSpec& in : ins_) {
        if (out.input || !in.input || out.carries != in.carries || contains(found, out.carries)) continue;
        if (anywhere || (fits(out, from_, edge_.crosses) && fits(in, from_, edge_.crosses))) found.push_back(out.carries);
      }
    return found;
  }

  [[noreturn]] void refuse() const {
    const auto gives = kinds(outs_, false, edge_.crosses), takes = kinds(ins_, true, edge_.crosses);
    const std::string from = with_article(from_.role), to = with_article(to_.role);
    if (gives.empty()) throw bad_input(fmt::format("{}: {} gives nothing", name_, from), edge_.where);
    if (takes.empty()) throw bad_input(fmt::format("{}: {} takes nothing", name_, to), edge_.where);
    if (const auto elsewhere = candidates(true); !elsewhere.empty()) {
      const std::string what = listed(elsewhere, "or");
      if (edge_.crosses)
        throw bad_input(fmt::format("{}: {} cannot go from one stage to another", name_, what), edge_.where,
                        "only finished artifacts cross stages: weights, models, datasets");
      throw bad_input(fmt::format("{}: {} must come from another stage", name_, what), edge_.where,
                      "it is a finished artifact, not a live channel");
    }
    const RoleSpec* spec = registry_.find(from_.role);
    std::string hint = spec->how_to_give ? spec->how_to_give(from_, takes) : "";
    if (hint.empty()) hint = between();
    throw bad_input(fmt::format("{}: {} gives {}, but {} takes {}", name_, from, listed(gives, "and"), to, listed(takes, "or")),
                    edge_.where, hint);
  }

  // "put a filter between them" for the roles that would connect the two.
  std::string between() const {
    if (edge_.crosses) return {};
    std::vector<std::string> roles;
    for (const RoleSpec& role : registry_.roles) {
      if (role.name == from_.role || role.name == to_.role) continue;
      bool takes = false, gives = false;
      for (const PortSpec& port : role.ports) {
        if (!port.inside) continue;
        const auto& others = port.input ? outs_ : ins_;
        const bool match = std::any_of(others.begin(), others.end(), [&](const PortSpec& other) {
          return other.carries == port.carries && other.input != port.input && other.inside;
        });
        (port.input ? takes : gives) |= match;
      }
      if (takes && gives) roles.push_back(with_article(role.name));
    }
    return roles.empty() ? "" : fmt::format("put {} between them", listed(roles, "or"));
  }

  [[noreturn]] void refuse_asked(const SyntaxAttr& asked) const {
    const auto gives = kinds(outs_, false, edge_.crosses), takes = kinds(ins_, true, edge_.crosses);
    const auto refuse = [&](const NodePlan& node, const char* verb, const std::vector<std::string>& can) {
      const std::string what = can.empty() ? "nothing" : listed(can, "and");
      std::string hint = suggestion(asked.value, can, false);
      throw bad_input(
          fmt::format("{}: {} does not {} '{}'; it {}s {}", name_, with_article(node.role), verb, asked.value, verb, what),
          asked.value_at, hint);
    };
    if (!contains(gives, asked.value)) refuse(from_, "give", gives);
    if (!contains(takes, asked.value)) refuse(to_, "take", takes);
    refuse_place(asked);
  }
  [[noreturn]] void refuse_place(const SyntaxAttr& asked) const {
    throw bad_input(fmt::format("{}: {} cannot go {}", name_, asked.value,
                                edge_.crosses ? "from one stage to another" : "between nodes of one stage"),
                    asked.value_at);
  }

  const EdgePlan& edge_;
  const RoleRegistry& registry_;
  const NodePlan &from_, &to_;
  const std::vector<PortSpec>&outs_, &ins_;
  std::string name_;
};

void give_attributes(Draft& draft, size_t index, const RoleRegistry& registry) {
  EdgePlan& edge = draft.view.edges[index];
  const std::vector<AttrSpec> specs = edge_specs(draft.view, edge, registry);
  declare(specs, edge.attrs);
  for (Default* d : draft.edges[index].defaults) {
    if (!find_attr(specs, d->attr.name)) continue;
    d->matched = true;
    draft.give(d->attr, edge.attrs);
  }
  for (const SyntaxAttr& attr : *draft.edges[index].attrs) {
    if (attr.name == "carries") continue;
    if (find_attr(specs, attr.name)) {
      draft.give(attr, edge.attrs);
    } else if (!is_cosmetic(attr.name)) {
      std::vector<std::string> names = names_of(specs);
      names.push_back("carries");
      std::string hint = suggestion(attr.name, names, true);
      bool known = false;
      for (const int end : {edge.from, edge.to})
        if (const AttrSpec* other = find_attr(registry.find(draft.view.nodes[end].role)->edge_attrs, attr.name)) {
          known = true;
          hint = fmt::format("edges that carry {} have it", listed(other->only_carrying, "or"));
        }
      if (known && registry.recorded) continue;
      throw bad_input(
          fmt::format("{}: an edge that carries {} has no attribute '{}'", draft.view.edge_name(edge), edge.carries, attr.name),
          attr.name_at, hint);
    }
  }
}

// The index of the port of a node that this edge uses. A role may have two ports for one payload, one for live channels and one
// for finished artifacts; an artifact prefers the latter.
int port_index(const std::vector<PortSpec>& ports, const NodePlan& from, const EdgePlan& edge, bool input) {
  int found = -1;
  for (size_t i = 0; i < ports.size(); ++i) {
    if (ports[i].input != input || ports[i].carries != edge.carries) continue;
    if (edge.crosses ? ports[i].crosses : ports[i].inside) return static_cast<int>(i);
    if (found < 0 && fits(ports[i], from, edge.crosses)) found = static_cast<int>(i);
  }
  return found;
}

// How a missing input could be given: "write a -> b", or which role gives it.
std::string how_to_connect(const Draft& draft, const NodePlan& node, const PortSpec& port, const RoleRegistry& registry) {
  for (size_t i = 0; i < draft.view.nodes.size() && port.inside; ++i) {
    const NodePlan& other = draft.view.nodes[i];
    if (&other == &node || other.artifact || other.stage != node.stage) continue;
    for (const PortSpec& out : draft.ports[i])
      if (!out.input && out.inside && out.carries == port.carries) return fmt::format("write {} -> {}", other.id, node.id);
  }
  std::vector<std::string> givers;
  for (const auto* list : {&registry.roles, &registry.artifacts})
    for (const RoleSpec& role : *list)
      for (const PortSpec& out : role.ports)
        if (!out.input && out.carries == port.carries && role.name != node.role && !contains(givers, with_article(role.name)))
          givers.push_back(with_article(role.name));
  if (givers.empty()) return {};
  return fmt::format("{} {} {}", listed(givers, "and"), givers.size() == 1 ? "gives" : "give", port.carries);
}

// `edges`: those of the node, in order of declaration.
void check_ports(const Draft& draft, size_t index, const std::vector<const EdgePlan*>& edges, const RoleRegistry& registry) {
  const GraphView& view = draft.view;
  const NodePlan& node = view.nodes[index];
  const std::vector<PortSpec>& ports = draft.ports[index];
  std::map<int, const EdgePlan*> first;
  for (const EdgePlan* of_node : edges) {
    const EdgePlan& edge = *of_node;
    for (const bool input : {false, true}) {
      if ((input ? edge.to : edge.from) != static_cast<int>(index)) continue;
      const int port = port_index(ports, view.nodes[edge.from], edge, input);
      const auto [it, fresh] = first.emplace(port, &edge);
      if (fresh || port < 0 || ports[port].many) continue;
      const int other = input ? it->second->from : it->second->to;
      throw bad_input(fmt::format("{}: {} {} {} {} one node only, and that is {}", view.edge_name(edge), node.id,
                                  input ? "takes" : "gives", edge.carries, input ? "from" : "to", view.nodes[other].id),
                      edge.where, fmt::format("see line {}", it->second->where.line));
    }
  }
  for (size_t p = 0; p < ports.size(); ++p)
    if (ports[p].input && ports[p].required && !first.count(static_cast<int>(p)))
      throw bad_input(fmt::format("{} ({}) has no edge that brings it {}", node.id, node.role, ports[p].carries), node.where,
                      how_to_connect(draft, node, ports[p], registry));
}

}  // namespace

std::vector<AttrSpec> edge_specs(const GraphView& view, const EdgePlan& edge, const RoleRegistry& registry) {
  std::vector<AttrSpec> specs;
  for (const int end : {edge.from, edge.to})
    for (const AttrSpec& spec : registry.find(view.nodes[end].role)->edge_attrs) {
      const bool applies = spec.only_carrying.empty() || contains(spec.only_carrying, edge.carries);
      if (applies && !find_attr(specs, spec.name)) specs.push_back(spec);
    }
  return specs;
}

void connect_edges(Draft& draft, const RoleRegistry& registry) {
  draft.ports.clear();
  for (const NodePlan& node : draft.view.nodes) draft.ports.push_back(ports_of(node, registry));
  for (size_t i = 0; i < draft.view.edges.size(); ++i) {
    EdgePlan& edge = draft.view.edges[i];
    const SyntaxAttr* asked = nullptr;
    for (const SyntaxAttr& attr : *draft.edges[i].attrs)
      if (attr.name == "carries") asked = &attr;
    edge.carries = Connector(draft, edge, registry).resolve(asked);
    const std::vector<PortSpec>& takes = draft.ports[edge.to];
    if (const int port = port_index(takes, draft.view.nodes[edge.from], edge, true); port >= 0)
      edge.versions = takes[static_cast<size_t>(port)].versions;
    give_attributes(draft, i, registry);
  }
  refuse_unmatched(draft, Statement::Kind::edge_defaults, registry);
}

void check_edges(const Draft& draft, const RoleRegistry& registry) {
  const GraphView& view = draft.view;
  std::map<std::tuple<int, int, std::string, std::string>, const EdgePlan*> seen;
  for (const EdgePlan& edge : view.edges) {
    check_values(edge_specs(view, edge, registry), edge.attrs, view.edge_name(edge), edge.where);
    const auto as = edge.attrs.given.find("as");
    const auto [it, fresh] =
        seen.emplace(std::tuple(edge.from, edge.to, edge.carries, as == edge.attrs.given.end() ? "" : as->second.value), &edge);
    if (!fresh)
      throw bad_input(fmt::format("{}: there are two such edges that carry {}", view.edge_name(edge), edge.carries), edge.where,
                      fmt::format("the first is in line {}", it->second->where.line));
  }
  std::vector<std::vector<const EdgePlan*>> edges_of(view.nodes.size());
  for (const EdgePlan& edge : view.edges) {
    edges_of[static_cast<size_t>(edge.from)].push_back(&edge);
    edges_of[static_cast<size_t>(edge.to)].push_back(&edge);
  }
  for (size_t i = 0; i < view.nodes.size(); ++i) {
    check_ports(draft, i, edges_of[i], registry);
    const NodePlan& node = view.nodes[i];
    const bool alone = !node.artifact && view.stages[node.stage].nodes.size() == 1;
    if (edges_of[i].empty() && !alone)
      throw bad_input(fmt::format("{} ({}) is connected to nothing", node.id, node.role), node.where);
  }
}

}  // namespace r1::graph
