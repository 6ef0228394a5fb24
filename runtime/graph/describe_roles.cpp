#include <fmt/format.h>

#include <algorithm>

#include "runtime/graph/attributes.h"
#include "runtime/graph/graph.h"

namespace r1 {

namespace {

std::string type_of(const AttrSpec& spec) {
  const char* names[] = {"text", "integer", "number", "true|false", ""};
  std::string text = names[static_cast<int>(spec.type)];
  if (spec.type == AttrType::choice)
    for (size_t i = 0; i < spec.choices.size(); ++i) text += (i > 0 ? "|" : "") + spec.choices[i];
  if (spec.min && spec.max)
    text += fmt::format(" {}{}..{}", spec.or_zero ? "0, " : "", *spec.min, *spec.max);
  else if (spec.min)
    text += fmt::format(" >= {}", *spec.min);
  else if (spec.max)
    text += fmt::format(" <= {}", *spec.max);
  return text;
}

// A condition on a choice that has none of its values: of an attribute that another role of the same table has a use for.
bool never_met(const AttrCondition& only, const std::vector<AttrSpec>& specs) {
  const AttrSpec* on = graph::find_attr(specs, only.attr);
  return on != nullptr && on->type == AttrType::choice &&
         std::none_of(only.values.begin(), only.values.end(), [&](const std::string& value) {
           return std::find(on->choices.begin(), on->choices.end(), value) != on->choices.end();
         });
}

std::string table(const std::string& title, const std::vector<AttrSpec>& specs) {
  if (specs.empty()) return {};
  std::string text = "  " + title + "\n";
  size_t name_width = 0, type_width = 0, value_width = 0;
  const auto value_of = [](const AttrSpec& s) {
    return s.required && s.fallback.empty() ? std::string("required") : s.fallback.empty() ? "-" : s.fallback;
  };
  for (const AttrSpec& spec : specs) {
    name_width = std::max(name_width, spec.name.size());
    type_width = std::max(type_width, std::min<size_t>(type_of(spec).size(), 28));
    value_width = std::max(value_width, std::min<size_t>(value_of(spec).size(), 20));
  }
  for (const AttrSpec& spec : specs) {
    if (never_met(spec.only_with, specs)) continue;
    std::string doc = spec.doc;
    if (!spec.only_carrying.empty()) doc += " (edges that carry " + graph::listed(spec.only_carrying, "or") + ")";
    if (!spec.only_with.values.empty())
      doc += fmt::format(" ({}={})", spec.only_with.attr, graph::listed(spec.only_with.values, "or"));
    if (spec.change == AttrChange::free) doc += " [may change when a run is continued]";
    if (spec.change == AttrChange::journaled) doc += " [may change with --change]";
    std::string row = fmt::format("    {:<{}}  {:<{}}  {:<{}}  {}", spec.name, name_width, type_of(spec), type_width,
                                  value_of(spec), value_width, doc);
    row.erase(row.find_last_not_of(' ') + 1);
    text += row + "\n";
  }
  return text;
}

std::string ports(const std::vector<PortSpec>& specs, bool input) {
  std::vector<std::string> words;
  for (const PortSpec& port : specs) {
    if (port.input != input) continue;
    std::vector<std::string> notes;
    if (input && port.required) notes.push_back("required");
    if (port.many) notes.push_back("many");
    if (port.crosses) notes.push_back(port.inside ? "also between stages" : "between stages");
    words.push_back(notes.empty() ? port.carries : fmt::format("{} ({})", port.carries, fmt::join(notes, ", ")));
  }
  return words.empty() ? "nothing" : fmt::format("{}", fmt::join(words, ", "));
}

std::string describe(const RoleSpec& role, bool artifact) {
  std::string text = fmt::format("{}={}{}\n", artifact ? "kind" : "role", role.name, role.doc.empty() ? "" : "  " + role.doc);
  if (!artifact) text += "  takes " + ports(role.ports, true) + "\n";
  text += "  gives " + ports(role.ports, false) + "\n";
  return text + table("attributes", role.attrs) + table("attributes of its edges", role.edge_attrs) + "\n";
}

}  // namespace

std::string describe_roles(const RoleRegistry& registry) {
  std::string text;
  for (const RoleSpec& role : registry.roles) text += describe(role, false);
  for (const RoleSpec& kind : registry.artifacts) text += describe(kind, true);
  if (!registry.stage_attrs.empty())
    text += "subgraph cluster_NAME  a stage\n" + table("attributes", registry.stage_attrs) + "\n";
  if (!registry.graph_attrs.empty()) text += "digraph NAME  the graph\n" + table("attributes", registry.graph_attrs);
  return text;
}

}  // namespace r1
