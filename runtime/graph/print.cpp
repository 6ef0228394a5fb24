// graph_dot: the effective graph as canonical DOT, and the same with cosmetics for --draw.
#include <fmt/format.h>

#include <array>
#include <set>

#include "base/clipped.h"
#include "runtime/graph/attributes.h"
#include "runtime/graph/graph.h"
#include "runtime/graph/lexer.h"

namespace r1 {

namespace {

using graph::quoted_id;
using graph::quoted_string;

// What a drawing shows of a node; its tooltip holds all.
constexpr size_t kLabelValueLimit = 26;  // bytes of a value
constexpr size_t kLabelAttrs = 2;        // the first ones as the role declares them

// Fill colours by the role's position in the registry: light, distinct, legible under black text.
std::string colour(const RoleRegistry& registry, const NodePlan& node) {
  static constexpr std::array<const char*, 8> kFills = {"#dbe9f6", "#d5efcf", "#fde5c8", "#e6dcf1",
                                                        "#e4e4e4", "#fbd3d0", "#d0efec", "#fff3bf"};
  if (node.artifact) return "#ffffff";
  for (size_t i = 0; i < registry.roles.size(); ++i)
    if (registry.roles[i].name == node.role) return kFills[i % kFills.size()];
  return "#ffffff";
}

class Printer {
 public:
  Printer(const GraphView& view, const RoleRegistry& registry, bool annotate)
      : view_(view), registry_(registry), annotate_(annotate), inside_(view.stages.size()) {}

  std::string print() {
    out_ = "digraph " + quoted_id(view_.name) + " {\n";
    if (annotate_)
      out_ +=
          "  graph [fontname=Helvetica, compound=true, nodesep=\"0.2\", ranksep=\"0.35\"];\n"
          "  node [fontname=Helvetica, fontsize=13, margin=\"0.1,0.04\", shape=box, style=\"rounded,filled\", "
          "color=\"#555555\"];\n"
          "  edge [fontname=Helvetica, fontsize=12, color=\"#555555\"];\n";
    print_graph_attrs(false);
    for (const NodePlan& node : view_.nodes)
      if (node.stage < 0) print_node(node, 2);
    for (const EdgePlan& edge : view_.edges)
      if (const int stage = view_.nodes[edge.from].stage; stage >= 0 && stage == view_.nodes[edge.to].stage)
        inside_[stage].push_back(&edge);
    for (size_t s = 0; s < view_.stages.size(); ++s) print_stage(static_cast<int>(s));
    for (const EdgePlan& edge : view_.edges)
      if (view_.nodes[edge.from].stage != view_.nodes[edge.to].stage) print_edge(edge, 2);
    print_graph_attrs(true);
    return out_ + "}\n";
  }

 private:
  using Pairs = std::vector<std::pair<std::string, std::string>>;

  // In the order in which they are declared.
  static Pairs given(const std::vector<AttrSpec>& specs, const Attrs& attrs) {
    Pairs pairs;
    for (const AttrSpec& spec : specs)
      if (const auto it = attrs.given.find(spec.name); it != attrs.given.end()) pairs.emplace_back(it->first, it->second.value);
    return pairs;
  }

  void line(int indent, const std::string& text) { out_ += std::string(indent, ' ') + text + ";\n"; }

  // An attribute that stages have too would become their default if it stood before them.
  void print_graph_attrs(bool of_stages_too) {
    for (const auto& [name, value] : given(registry_.graph_attrs, view_.attrs))
      if ((graph::find_attr(registry_.stage_attrs, name) != nullptr) == of_stages_too)
        line(2, quoted_id(name) + "=" + quoted_id(value));
  }

  static std::string attr_list(const Pairs& pairs) {
    std::string text;
    for (const auto& [name, value] : pairs)
      text += fmt::format("{}{}={}", text.empty() ? "" : ", ", quoted_id(name), quoted_id(value));
    return text;
  }

  void print_stage(int index) {
    const StagePlan& stage = view_.stages[index];
    out_ += "  subgraph " + quoted_id("cluster_" + stage.name) + " {\n";
    if (annotate_ || stage.label != stage.name) line(4, "label=" + quoted_string(stage.label));
    if (annotate_) line(4, "style=rounded; color=\"#999999\"; bgcolor=\"#fafafa\"; fontsize=16; labeljust=l");
    for (const auto& [name, value] : given(registry_.stage_attrs, stage.attrs))
      if (name != "label") line(4, quoted_id(name) + "=" + quoted_id(value));
    for (const int node : stage.nodes) print_node(view_.nodes[node], 4);
    for (const EdgePlan* edge : inside_[index]) print_edge(*edge, 4);
    out_ += "  }\n";
  }

  void print_node(const NodePlan& node, int indent) {
    const Pairs attrs = given(registry_.find(node.role)->attrs, node.attrs);
    Pairs all = {{node.artifact ? "kind" : "role", node.role}};
    all.insert(all.end(), attrs.begin(), attrs.end());
    std::string list = attr_list(all);
    if (annotate_) {
      std::string label = node.id + "\n" + node.role, tooltip = node.role;
      for (size_t i = 0; i < attrs.size(); ++i) {
        const auto& [name, value] = attrs[i];
        if (i < kLabelAttrs) label += "\n" + name + " = " + shortened(value, kLabelValueLimit);
        tooltip += ", " + name + "=" + value;
      }
      for (const auto& [name, value] : Pairs{{"label", label}, {"tooltip", tooltip}})
        if (!node.attrs.given.count(name)) list += ", " + name + "=" + quoted_string(value);
      list += fmt::format(", fillcolor=\"{}\"", colour(registry_, node));
      if (node.artifact) list += ", shape=cylinder, style=filled";
    }
    line(indent, fmt::format("{} [{}]", quoted_id(node.id), list));
  }

  void print_edge(const EdgePlan& edge, int indent) {
    const Pairs attrs = given(all_edge_specs(edge), edge.attrs);
    Pairs all = {{"carries", edge.carries}};
    all.insert(all.end(), attrs.begin(), attrs.end());
    std::string list = attr_list(all);
    if (annotate_) {
      // What follows from the two roles needs no words.
      std::string label = edge.crosses && edge.carries != "model" ? edge.carries : "", tooltip = edge.carries;
      for (const auto& [name, value] : attrs) {
        label += (label.empty() ? "" : "\n") + name + "=" + shortened(value, kLabelValueLimit);
        tooltip += ", " + name + "=" + value;
      }
      if (!label.empty()) list += ", label=" + quoted_string(label);
      list += ", tooltip=" + quoted_string(tooltip);
      const bool weights = edge.carries == "weights";
      if (weights) list += ", color=\"#c0392b\", fontcolor=\"#c0392b\"";
      if (edge.crosses) list += ", style=\"dashed,bold\"";
      // Fresh weights flow against the direction of the data: they must not turn the stage's layout around.
      else if (weights && reaches(edge.to, edge.from))
        list += ", constraint=false";
    }
    line(indent, fmt::format("{} -> {} [{}]", quoted_id(view_.nodes[edge.from].id), quoted_id(view_.nodes[edge.to].id), list));
  }

  // Along live channels that carry no weights.
  bool reaches(int from, int to) const {
    std::vector<int> open = {from};
    std::set<int> seen;
    while (!open.empty()) {
      const int at = open.back();
      open.pop_back();
      if (at == to) return true;
      if (!seen.insert(at).second) continue;
      for (const int e : view_.nodes[at].out_edges)
        if (!view_.edges[e].crosses && view_.edges[e].carries != "weights") open.push_back(view_.edges[e].to);
    }
    return false;
  }

  // Of every payload: whatever was given is printed.
  std::vector<AttrSpec> all_edge_specs(const EdgePlan& edge) const {
    std::vector<AttrSpec> specs;
    for (const int end : {edge.from, edge.to})
      for (const AttrSpec& spec : registry_.find(view_.nodes[end].role)->edge_attrs)
        if (!graph::find_attr(specs, spec.name)) specs.push_back(spec);
    return specs;
  }

  const GraphView& view_;
  const RoleRegistry& registry_;
  const bool annotate_;
  std::vector<std::vector<const EdgePlan*>> inside_;  // [stage]: its edges
  std::string out_;
};

}  // namespace

std::string graph_dot(const GraphView& view, const RoleRegistry& registry, bool annotate) {
  return Printer(view, registry, annotate).print();
}

}  // namespace r1
