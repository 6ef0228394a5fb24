#include "actors/changed_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "actors/steering.h"
#include "actors/training_attrs.h"
#include "base/files.h"
#include "base/log.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

std::string effective(const Attrs& attrs, const std::string& name) {
  if (const auto it = attrs.given.find(name); it != attrs.given.end()) return it->second.value;
  const auto it = attrs.fallback.find(name);
  return it == attrs.fallback.end() ? "" : it->second;
}

AttrChange kind_of(const std::vector<AttrSpec>& specs, const std::string& name) {
  for (const AttrSpec& spec : specs)
    if (spec.name == name) return spec.change;
  return AttrChange::never;
}

void compare(const std::string& owner, int stage, const Attrs& a, const Attrs& b, const std::vector<AttrSpec>& specs,
             std::vector<GraphChange>& changes) {
  std::set<std::string> names;
  for (const Attrs* side : {&a, &b}) {
    for (const auto& [name, attr] : side->given) names.insert(name);
    for (const auto& [name, value] : side->fallback) names.insert(name);
  }
  for (const std::string& name : names)
    if (const std::string before = effective(a, name), after = effective(b, name); before != after)
      changes.push_back({owner + "." + name, before, after, stage, kind_of(specs, name)});
}

// The --set that make the run's graph of this one again; empty where more than attributes differ, or they would not do.
std::vector<Override> sets_back(const GraphView& before, const GraphView& now, const RoleRegistry& registry) {
  std::vector<Override> sets;
  const auto add = [&](const std::string& owner, const Attrs& a, const Attrs& b) {
    std::vector<GraphChange> changes;
    compare(owner, -1, a, b, {}, changes);
    for (const GraphChange& c : changes) sets.push_back({owner, c.attribute.substr(owner.size() + 1), c.before});
  };
  add("graph", before.attrs, now.attrs);
  for (const StagePlan& stage : before.stages)
    if (const StagePlan* other = now.stage(stage.name)) add(stage.name, stage.attrs, other->attrs);
  for (const NodePlan& node : before.nodes)
    if (const NodePlan* other = now.node(node.id)) add(node.id, node.attrs, other->attrs);
  for (const EdgePlan& edge : before.edges)
    for (const EdgePlan& other : now.edges)
      if (before.edge_name(edge) == now.edge_name(other) && edge.carries == other.carries)
        add(before.edge_name(edge), edge.attrs, other.attrs);
  try {
    RoleRegistry unchecked = registry;  // only whether it is the same graph
    for (RoleSpec& role : unchecked.roles) role.check = nullptr;
    const GraphView back = load_graph_text(graph_dot(now, registry, false), "graph.graph", unchecked, sets);
    if (graph_difference(before, back).empty()) return sets;
  } catch (const Error&) {
  }
  return {};
}

[[noreturn]] void refuse(const GraphView& before, const GraphView& now, const fs::path& run_dir, const RoleRegistry& registry) {
  constexpr size_t kMostShown = 8;
  const auto difference = graph_difference(before, now);
  std::string text, way;
  for (size_t i = 0; i < std::min(difference.size(), kMostShown); ++i) text += "\n  " + difference[i];
  if (difference.size() > kMostShown) text += fmt::format("\n  and {} more", difference.size() - kMostShown);
  for (const Override& o : sets_back(before, now, registry)) {
    const std::string set = fmt::format("{}.{}={}", o.target, o.attr, o.value);
    const bool plain =
        set.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.=-+/:,") == set.npos;
    way += fmt::format(" --set {}", plain ? set : "'" + set + "'");
  }
  throw bad_input("this run was started with a different graph:" + text, {run_dir.string()},
                  (way.empty() ? "use the same graph and --set, " : "to go on as it was started:" + way + "; or use ") +
                      "another directory with --run, or --fresh to start over");
}

std::string shown(const GraphChange& c) {
  const auto value = [](const std::string& v) { return v.empty() ? std::string("(none)") : v; };
  return fmt::format("{}: {} -> {}", c.attribute, value(c.before), value(c.after));
}

// What is measured on the way decides about the stage: it stays the same measurement.
bool steers(const GraphView& graph, const GraphChange& change) {
  if (change.stage < 0) return false;
  for (const SteeringEvaluator& e : steering_evaluators(graph, change.stage))
    if (change.attribute.starts_with(e.node->id + ".") && !change.attribute.ends_with(".max_running") &&
        !change.attribute.ends_with(".problems_before") && !change.attribute.ends_with(".keep_samples"))
      return true;
  return false;
}

// Where a role computes: of a stage that has ended nobody computes any more.
bool places(const GraphChange& change) {
  static const std::set<std::string> kPlaces = {"on", "host", "tags", "replicas"};
  return kPlaces.count(change.attribute.substr(change.attribute.find('.') + 1)) != 0;
}

}  // namespace

static std::vector<GraphChange> graph_changes(const GraphView& graph, const fs::path& run_dir, const RoleRegistry& registry,
                                              bool change) {
  const fs::path file = run_dir / "graph.graph";
  const std::string text = read_file(file);
  if (text == graph_dot(graph, registry, false)) return {};
  RoleRegistry of_then = registry;
  of_then.recorded = true;
  // What roles were allowed then may be refused now: it is compared, and not judged. Its files are looked for.
  for (RoleSpec& role : of_then.roles) role.check = nullptr;
  GraphView before;
  try {
    before = load_graph_text(text, file.string(), of_then);
  } catch (const Error& e) {
    // Its paths begin at this graph's directory: one of the same name elsewhere reads other files.
    throw bad_input("the graph that this run was started with cannot be read from here: " + e.message(), e.where(),
                    "another directory with --run, or --fresh to start over; else put back what it reads");
  }
  std::vector<GraphChange> changes;
  compare("graph", -1, before.attrs, graph.attrs, registry.graph_attrs, changes);
  for (NodePlan& node : before.nodes) {
    const NodePlan* now = graph.node(node.id);
    if (now == nullptr || now->role != node.role) refuse(before, graph, run_dir, registry);
    compare(node.id, now->stage, node.attrs, now->attrs, registry.find(node.role)->attrs, changes);
  }
  // What r1-shell has set counts, and not what the graph of before says.
  if (!changes.empty() && fs::exists(run_dir / "run.db")) {
    const auto store = RunStore::open_read_only(run_dir);
    for (const StageRow& stage : store->stages())
      for (const ChangeRow& row : store->changes(stage.id))
        for (GraphChange& c : changes)
          if (row.attribute == c.attribute) c.before = row.after;
  }
  for (GraphChange& c : changes) {
    if (c.kind == AttrChange::never || steers(graph, c)) refuse(before, graph, run_dir, registry);
    // A schedule that ends with the stage depends on when that is.
    const std::string node = c.attribute.substr(0, c.attribute.find('.'));
    if (c.attribute == node + ".until" && effective(graph.node(node)->attrs, "schedule") != "constant")
      c.kind = AttrChange::journaled;
  }
  // All else has to be equal: edges, stages, artifacts.
  GraphView rest = before;
  rest.attrs = graph.attrs;
  for (NodePlan& node : rest.nodes) node.attrs = graph.node(node.id)->attrs;
  if (!graph_difference(rest, graph).empty()) refuse(before, graph, run_dir, registry);
  std::string asks;
  for (const GraphChange& c : changes)
    if (c.kind == AttrChange::journaled && c.before != c.after) asks += "\n  " + shown(c);
  if (!asks.empty() && !change)
    throw bad_input("this changes what the run is trained with:" + asks, {run_dir.string()},
                    "add --change to let it take effect from the next batch on; or use the graph and --set of before");
  return changes;
}

std::vector<GraphChange> continue_graph(const GraphView& graph, const fs::path& run_dir, const RoleRegistry& registry,
                                        bool change) {
  const fs::path file = run_dir / "graph.graph";
  const bool store = fs::exists(run_dir / "run.db");
  if (!fs::exists(file)) {
    if (store)
      throw bad_input("the graph of this run is missing", {file.string()},
                      "put the file back as it was, or start over with --fresh");
    write_file_atomically(file, graph_dot(graph, registry, false));
    return {};
  }
  for (const char* results : {"checkpoints", "snapshots", "datasets"})
    if (!store && fs::exists(run_dir / results))
      throw bad_input("the store of this run is missing", {(run_dir / "run.db").string()},
                      "put the file back as it was, or start over with --fresh");
  return graph_changes(graph, run_dir, registry, change);
}

void apply_changes(const std::vector<GraphChange>& changes, const GraphView& graph, const fs::path& run_dir,
                   const RoleRegistry& registry, RunStore& store) {
  std::map<int, std::vector<ChangeRow>> journal;
  for (const GraphChange& c : changes) {
    if (c.stage < 0) continue;
    const std::string& name = graph.stages[c.stage].name;
    const int64_t id = store.ensure_stage(name);
    for (const StageRow& row : store.stages())
      if (row.id == id && row.ended() && !places(c))
        throw bad_input(fmt::format("stage '{}' has ended, it cannot change any more ({})", name, shown(c)), {run_dir.string()},
                        "use the graph and --set of before, another directory with --run, or --fresh to start over");
    // What r1-shell has set is journaled, whatever its kind; the newest word counts.
    const std::vector<ChangeRow> known = store.changes(id);
    const auto last =
        std::find_if(known.rbegin(), known.rend(), [&](const ChangeRow& row) { return row.attribute == c.attribute; });
    if (c.kind == AttrChange::journaled || last != known.rend())
      journal[c.stage].push_back({store.batch_count(id), c.attribute, last != known.rend() ? last->after : c.before, c.after});
  }
  for (const auto& [stage, rows] : journal) store.add_changes(store.ensure_stage(graph.stages[stage].name), rows);
  for (const GraphChange& c : changes) {
    const int64_t id = c.stage < 0 ? 0 : store.ensure_stage(graph.stages[c.stage].name);
    const int64_t version = c.stage < 0 ? 0 : store.batch_count(id);
    store.add_event(
        id, "r1-run", "changed",
        nlohmann::json{{"attribute", c.attribute}, {"before", c.before}, {"after", c.after}, {"version", version}}.dump());
    log_info(c.kind == AttrChange::journaled ? fmt::format("changed from batch {} on: {}", version, shown(c))
                                             : "changed: " + shown(c));
  }
  store.flush();
  // Killed here, the next command finds the old graph and the same difference: journaled twice, with the same effect.
  if (!changes.empty()) write_file_atomically(run_dir / "graph.graph", graph_dot(graph, registry, false));
}

NodePlan changed_node(const NodePlan& trainer, const std::vector<ChangeRow>& changes, int64_t version) {
  // The last change until then says what an attribute is; before its first one it was what that one replaced.
  std::map<std::string, std::string> values;
  std::set<std::string> reached;
  for (const ChangeRow& c : changes) {
    if (!c.attribute.starts_with(trainer.id + ".")) continue;  // how many nodes do the work of another role
    const std::string name = c.attribute.substr(trainer.id.size() + 1);
    if (c.version <= version) {
      values[name] = c.after;
      reached.insert(name);
    } else if (reached.count(name) == 0) {
      values.emplace(name, c.before);
    }
  }
  NodePlan then = trainer;
  for (const auto& [name, value] : values) {
    if (value.empty())
      then.attrs.given.erase(name);
    else
      then.attrs.given[name].value = value;
  }
  return then;
}

std::string value_after(const NodePlan& trainer, const std::vector<ChangeRow>& changes, const std::string& attr) {
  return effective(changed_node(trainer, changes, INT64_MAX).attrs, attr);
}

TrainerConfig trainer_config_at(const RunEnv& env, const GraphView& graph, const NodePlan& trainer, int64_t batches,
                                const std::vector<ChangeRow>& changes, int64_t version) {
  return trainer_config(env, graph, changed_node(trainer, changes, version), batches);
}

bool changes_at(const std::vector<ChangeRow>& changes, int64_t version) {
  return std::any_of(changes.begin(), changes.end(), [&](const ChangeRow& c) { return c.version == version; });
}

}  // namespace r1
