#include <fmt/format.h>

#include <set>

#include "runtime/graph/graph.h"

namespace r1 {

namespace {

class Differ {
 public:
  void attrs(const std::string& owner, const Attrs& a, const Attrs& b) {
    std::set<std::string> names;
    for (const Attrs* side : {&a, &b}) {
      for (const auto& [name, attr] : side->given) names.insert(name);
      for (const auto& [name, value] : side->fallback) names.insert(name);
    }
    for (const std::string& name : names) changed(owner + "." + name, effective(a, name), effective(b, name));
  }
  void changed(const std::string& what, const std::string& a, const std::string& b) {
    if (a != b) lines_.push_back(fmt::format("{}: {} -> {}", what, shown(a), shown(b)));
  }
  void line(std::string text) { lines_.push_back(std::move(text)); }
  std::vector<std::string> take() { return std::move(lines_); }

 private:
  static std::string effective(const Attrs& attrs, const std::string& name) {
    if (const auto it = attrs.given.find(name); it != attrs.given.end()) return it->second.value;
    const auto it = attrs.fallback.find(name);
    return it == attrs.fallback.end() ? "" : it->second;
  }
  static std::string shown(const std::string& value) { return value.empty() ? "(none)" : value; }

  std::vector<std::string> lines_;
};

std::string stage_of(const GraphView& view, const NodePlan& node) { return node.stage < 0 ? "" : view.stages[node.stage].name; }

// Several edges may join two nodes: what they carry and their `as` tell them apart (check_edges sees to it).
std::map<std::string, const EdgePlan*> edges_by_name(const GraphView& view) {
  std::map<std::string, const EdgePlan*> edges;
  for (const EdgePlan& edge : view.edges) {
    std::string name = fmt::format("{} [{}", view.edge_name(edge), edge.carries);
    if (const auto as = edge.attrs.given.find("as"); as != edge.attrs.given.end()) name += " as " + as->second.value;
    edges.emplace(name + "]", &edge);
  }
  return edges;
}

template <class Map>
void both(const std::string& what, const Map& a, const Map& b, Differ& differ,
          const std::function<void(const std::string&, typename Map::mapped_type, typename Map::mapped_type)>& compare) {
  for (const auto& [name, item] : a) {
    const auto it = b.find(name);
    if (it == b.end())
      differ.line(fmt::format("{} {}: removed", what, name));
    else
      compare(name, item, it->second);
  }
  for (const auto& [name, item] : b)
    if (!a.count(name)) differ.line(fmt::format("{} {}: added", what, name));
}

template <class T>
std::map<std::string, const T*> by(const std::vector<T>& items, std::string T::*name) {
  std::map<std::string, const T*> map;
  for (const T& item : items) map.emplace(item.*name, &item);
  return map;
}

}  // namespace

std::vector<std::string> graph_difference(const GraphView& a, const GraphView& b) {
  Differ differ;
  differ.changed("graph", a.name, b.name);
  differ.attrs("graph", a.attrs, b.attrs);
  both("stage", by(a.stages, &StagePlan::name), by(b.stages, &StagePlan::name), differ,
       [&](const std::string& name, const StagePlan* x, const StagePlan* y) { differ.attrs(name, x->attrs, y->attrs); });
  both("node", by(a.nodes, &NodePlan::id), by(b.nodes, &NodePlan::id), differ,
       [&](const std::string& name, const NodePlan* x, const NodePlan* y) {
         differ.changed(name + ".stage", stage_of(a, *x), stage_of(b, *y));
         differ.changed(name + ".role", x->role, y->role);
         if (x->role == y->role) differ.attrs(name, x->attrs, y->attrs);
       });
  both("edge", edges_by_name(a), edges_by_name(b), differ,
       [&](const std::string& name, const EdgePlan* x, const EdgePlan* y) { differ.attrs(name, x->attrs, y->attrs); });
  return differ.take();
}

}  // namespace r1
