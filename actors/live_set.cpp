#include "actors/live_set.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "actors/changed_run.h"
#include "base/error.h"

namespace r1 {

// Whether `attr` has an effect by `other`'s leave: it goes without saying when that changes.
static bool follows(const RoleSpec& role, const std::string& attr, const std::string& other) {
  return std::any_of(role.attrs.begin(), role.attrs.end(),
                     [&](const AttrSpec& spec) { return spec.name == attr && spec.only_with.attr == other; });
}

bool is_live(const RoleSpec& role, const AttrSpec& attr) {
  if (role.name != "trainer" && role.name != "distiller") return false;
  return attr.change == AttrChange::journaled || attr.name == "until";
}

void check_live_set(const GraphView& graph, const RoleRegistry& registry, const RunStore& store, const std::string& node,
                    const std::string& attr, const std::string& value) {
  const NodePlan* const plan = graph.node(node);
  if (plan == nullptr) {
    std::vector<std::string> names;
    for (const NodePlan& n : graph.nodes) names.push_back(n.id);
    const std::string near = nearest(node, names);
    throw bad_input(fmt::format("there is no role '{}'", node), {},
                    near.empty() ? "'live' lists what can be set" : fmt::format("did you mean {}?", near));
  }
  const RoleSpec& role = *registry.find(plan->role);
  std::vector<std::string> live;
  for (const AttrSpec& spec : role.attrs)
    if (is_live(role, spec)) live.push_back(spec.name);
  if (live.empty())
    throw bad_input(fmt::format("nothing of a {} can be set while the run goes on", plan->role), {},
                    "attributes of trainers can; 'stop' ends the run, and r1-run --set NODE.ATTR=VALUE continues it");
  if (std::find(live.begin(), live.end(), attr) == live.end()) {
    const std::string near = nearest(attr, live);
    throw bad_input(fmt::format("'{}' cannot be set while the run goes on", attr), {},
                    near.empty() ? fmt::format("live are {}", fmt::join(live, ", ")) : fmt::format("did you mean '{}'?", near));
  }
  // The value, and what follows from it, are checked as those of --set.
  try {
    std::vector<Override> sets;
    // What depends on an attribute goes when that changes.
    const auto set = [&](const std::string& name, const std::string& to) {
      std::erase_if(sets, [&](const Override& earlier) { return follows(role, earlier.attr, name); });
      sets.push_back({node, name, to});
    };
    for (const StageRow& stage : store.stages())
      for (const ChangeRow& row : store.changes(stage.id))
        if (row.attribute.starts_with(node + ".")) set(row.attribute.substr(node.size() + 1), row.after);
    set(attr, value);
    load_graph_text(graph_dot(graph, registry, false), "graph.graph", registry, sets);
  } catch (const Error& e) {
    throw bad_input(e.message(), {}, e.hint());
  }
}

std::vector<LiveAttr> live_attributes(const GraphView& graph, const RoleRegistry& registry, const RunStore& store) {
  std::vector<LiveAttr> rows;
  for (const StageRow& row : store.stages()) {
    const StagePlan* const stage = graph.stage(row.name);
    if (stage == nullptr || row.ended()) continue;
    const std::vector<ChangeRow> changes = store.changes(row.id);
    for (const int n : stage->nodes) {
      const NodePlan& node = graph.nodes[static_cast<size_t>(n)];
      const RoleSpec* const role = registry.find(node.role);
      for (const AttrSpec& spec : role->attrs) {
        if (!is_live(*role, spec)) continue;
        const auto& with = spec.only_with;
        if (!with.values.empty() &&
            std::find(with.values.begin(), with.values.end(), value_after(node, changes, with.attr)) == with.values.end())
          continue;
        rows.push_back({node.id + "." + spec.name, value_after(node, changes, spec.name), spec.doc});
      }
    }
  }
  return rows;
}

std::vector<std::string> live_sets(const GraphView& graph, const RunStore& store) {
  std::vector<std::string> lines;
  for (const StageRow& row : store.stages()) {
    const StagePlan* const stage = graph.stage(row.name);
    if (stage == nullptr || row.ended()) continue;
    std::map<std::string, ChangeRow> last;
    for (const ChangeRow& c : store.changes(row.id)) last[c.attribute] = c;
    for (const auto& [attribute, c] : last) {
      const size_t dot = attribute.find('.');
      const NodePlan* const node = graph.node(attribute.substr(0, dot));
      if (node == nullptr) continue;
      const std::string said = value_after(*node, {}, attribute.substr(dot + 1));
      if (said != c.after) lines.push_back(fmt::format("{}: {} -> {}, from batch {} on", attribute, said, c.after, c.version));
    }
  }
  return lines;
}

}  // namespace r1
