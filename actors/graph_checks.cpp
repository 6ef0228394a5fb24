#include "actors/graph_checks.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/clipped.h"
#include "rewards/rules.h"

namespace r1 {

namespace fs = std::filesystem;

RecordKind checked_source_kind(const fs::path& graph_dir, const NodePlan& node, const std::string& source) {
  return placed(node, "source", [&] { return source_kind(located_source(source, graph_dir)); });
}

std::optional<FactValues> stage_facts(const fs::path& graph_dir, const GraphView& graph, int stage) {
  FactValues facts;
  for (int n : graph.stages[stage].nodes) {
    const NodePlan& node = graph.nodes[n];
    if (node.role != "prompter") continue;
    const std::string source = located_source(node.attrs.text("source"), graph_dir);
    if (reads_files(source)) return std::nullopt;
    if (source_kind(source) != RecordKind::prompt) continue;
    for (const auto& [name, values] : placed(node, "source", [&] { return open_source(source, 0)->fact_values(); }))
      facts[name].insert(values.begin(), values.end());
  }
  return facts;
}

bool writes_dataset(const GraphView& graph, const NodePlan& filter) {
  for (int e : filter.out_edges)
    if (graph.edges[e].carries == "dataset") return true;
  return false;
}

std::vector<std::string> other_names(const GraphView& graph, const NodePlan& node) {
  if (node.role == "judge" || node.role == "evaluator") return reward_model_names(graph, node);
  std::vector<std::string> names = {"reward"};
  if (const NodePlan* judge = stage_node(graph, node.stage, "judge"))
    for (const std::string& name : reward_model_names(graph, *judge)) names.push_back(name);
  return names;
}

void check_names(const GraphView& graph, const NodePlan& node, const std::string& attr, const std::vector<std::string>& flags) {
  const Where where = attr_place(node, attr);
  std::vector<std::string> known = other_names(graph, node);
  const auto& rules = rule_names();
  known.insert(known.end(), rules.begin(), rules.end());
  known.insert(known.end(), flags.begin(), flags.end());
  check_variables(RewardExpression::parse(node.attrs.text(attr), where), known, where);
}

RewardExpression check_expression(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node,
                                  const std::string& attr) {
  if (const auto facts = stage_facts(graph_dir, graph, node.stage)) check_names(graph, node, attr, flag_names(*facts));
  return RewardExpression::parse(node.attrs.text(attr), attr_place(node, attr));
}

void check_varies(const GraphView& graph, const NodePlan& node, const std::string& attr, const std::string& so) {
  const RewardExpression expression = RewardExpression::parse(node.attrs.text(attr), attr_place(node, attr));
  std::vector<std::string> scorers = reward_model_names(graph, node);
  const auto& rules = rule_names();
  scorers.insert(scorers.end(), rules.begin(), rules.end());
  for (const std::string& name : expression.variables())
    if (name.ends_with(')') || std::find(scorers.begin(), scorers.end(), name) != scorers.end()) return;
  const std::string near = expression.variables().empty() ? "" : nearest(expression.variables()[0], scorers);
  throw bad_input(
      fmt::format("{}=\"{}\" is the same for all completions of a prompt: {}", attr, clipped(expression.text()), so),
      attr_place(node, attr),
      near.empty() ? "name a rule (format, accuracy, ...), a program or a reward model in it"
                   : fmt::format("did you mean '{}'?", near));
}

void check_reward_models(const GraphView& graph, const NodePlan& node) {
  std::set<std::string> seen;
  const std::string rewards = node.attrs.text("rewards");
  std::vector<std::string> used;
  if (!rewards.empty()) used = RewardExpression::parse(rewards, attr_place(node, "rewards")).variables();
  for (int e : node.in_edges) {
    const EdgePlan& edge = graph.edges[e];
    if (edge.carries != "model") continue;
    if (!edge.attrs.has("as")) {
      if (node.role == "evaluator") continue;  // the model that it evaluates
      throw bad_input("a model that a judge uses needs a name", edge.where, "add [as=NAME] and use NAME in rewards=");
    }
    const std::string name = edge.attrs.text("as");
    const auto& rules = rule_names();
    if (std::find(rules.begin(), rules.end(), name) != rules.end())
      throw bad_input("'" + name + "' is the name of a built-in reward", edge.attrs.where("as"), "choose another name");
    if (!seen.insert(name).second) throw bad_input("two models are named '" + name + "'", edge.attrs.where("as"));
    // Whoever says other rewards by --set cannot remove an edge.
    if (!rewards.empty() && !node.attrs.given.at("rewards").overridden &&
        std::find(used.begin(), used.end(), name) == used.end())
      throw bad_input(fmt::format("'{}' is given the model '{}', which its rewards do not use", node.id, name),
                      edge.attrs.where("as"), "use the name in rewards=, or remove the edge");
    const NodePlan& from = graph.nodes[edge.from];
    if (!from.artifact && from.attrs.text("objective") != "reward_model")
      throw bad_input("'" + from.id + "' does not train a reward model", edge.where, "objective=reward_model");
  }
}

void check_taken(const GraphView& graph, const NodePlan& node, const std::vector<std::string>& what, const char* hint) {
  for (int e : node.out_edges)
    if (std::find(what.begin(), what.end(), graph.edges[static_cast<size_t>(e)].carries) != what.end()) return;
  throw bad_input(fmt::format("nobody takes what '{}' gives: it would work for nothing", node.id), node.where, hint);
}

void refuse_without_effect(const NodePlan& node, const std::vector<std::string>& attrs, const std::string& why,
                           const std::string& hint) {
  std::vector<std::string> names;
  Where first;
  for (const std::string& attr : attrs) {
    const auto given = node.attrs.given.find(attr);
    if (given == node.attrs.given.end() || given->second.shared || given->second.value == node.attrs.fallback.at(attr))
      continue;
    if (names.empty()) first = given->second.where;
    names.push_back(node.id + "." + attr);
  }
  if (names.empty()) return;
  throw bad_input(fmt::format("{} {} no effect {}", fmt::join(names, ", "), names.size() == 1 ? "has" : "have", why), first,
                  hint);
}

void refuse_without_effect(const NodePlan& node, const std::string& attr, const std::string& why, const std::string& hint) {
  refuse_without_effect(node, std::vector{attr}, why, hint);
}

ModelConfig model_config(const fs::path& graph_dir, const NodePlan& model) {
  RunEnv env;
  env.graph_dir = graph_dir;
  return placed(model, model.attrs.has("path") ? "path" : "config", [&] { return origin_config(env, model); });
}

void need_mtp_module(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node, const char* attr) {
  const NodePlan& model = model_root(graph, node);
  if (!model_config(graph_dir, model).has_mtp())
    throw bad_input(fmt::format("model '{}' has no multi-token prediction module", model.id), node.attrs.where(attr),
                    "its config.json needs \"model_type\": \"deepseek_v3\" and \"num_nextn_predict_layers\": 1");
}

}  // namespace r1
