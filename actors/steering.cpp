#include "actors/steering.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "actors/metric_table.h"
#include "actors/run_env.h"
#include "actors/stored_rows.h"
#include "base/error.h"

namespace r1 {

std::vector<std::string> deciding_metrics(const NodePlan& evaluator) {
  if (const std::string given = evaluator.attrs.text("metric"); !given.empty()) return {given};
  if (!evaluator.attrs.text("rewards").empty()) return {"reward"};
  return {"accuracy", "pair_accuracy"};
}

std::vector<SteeringEvaluator> steering_evaluators(const GraphView& graph, int stage) {
  std::vector<SteeringEvaluator> out;
  if (stage < 0) return out;
  for (const int n : graph.stages[static_cast<size_t>(stage)].nodes) {
    const NodePlan& node = graph.nodes[static_cast<size_t>(n)];
    if (node.role != "evaluator" || node.attrs.integer("every") == 0) continue;
    bool told = false;
    for (const int e : node.out_edges) told = told || graph.edges[static_cast<size_t>(e)].carries == "metrics";
    if (!told) continue;
    SteeringEvaluator s;
    s.node = &node;
    for (const int e : node.in_edges)
      if (graph.edges[static_cast<size_t>(e)].carries == "weights") s.edge = e;
    s.every = node.attrs.integer("every");
    s.keeps_best = node.attrs.text("keep") == "best";
    s.metrics = deciding_metrics(node);
    out.push_back(std::move(s));
  }
  return out;
}

Steering::Steering(const GraphView& graph, int stage) : evaluators_(steering_evaluators(graph, stage)) {}

void Steering::restore(const RunStore& store, int64_t stage_id) {
  if (!any()) return;
  for (const EvaluationRow& row : store.evaluations(stage_id))
    if (row.moment == "during") restore(row, evaluation_metrics_in(store, stage_id, row));
}

void Steering::restore(const StageJournal& stage) {
  if (!any()) return;
  for (const EvaluationRow& row : stage.evaluations())
    if (row.moment == "during") restore(row, evaluation_metrics_in(stage, row));
}

void Steering::restore(const EvaluationRow& row, const nlohmann::ordered_json& stored) {
  std::map<std::string, double> metrics;
  for (const auto& [name, value] : stored.items())
    if (value.is_number()) metrics[name] = value.get<double>();
  note(row.node, row.version, metrics);
}

std::vector<const SteeringEvaluator*> Steering::due(int64_t version, bool last) const {
  std::vector<const SteeringEvaluator*> out;
  for (const SteeringEvaluator& e : evaluators_) {
    const auto known = measured_.find(e.node->id);
    if (version == 0 || (known != measured_.end() && known->second.count(version) != 0)) continue;
    if (version % e.every == 0 || (last && e.keeps_best)) out.push_back(&e);
  }
  return out;
}

void Steering::note(const std::string& node, int64_t version, const std::map<std::string, double>& metrics) {
  measured_[node][version] = metrics;
}

void Steering::check_decides(const std::string& node, const std::map<std::string, double>& metrics) const {
  for (const SteeringEvaluator& e : evaluators_) {
    if (e.node->id != node || !e.keeps_best) continue;
    if (std::any_of(e.metrics.begin(), e.metrics.end(), [&](const std::string& name) { return metrics.count(name) != 0; }))
      continue;
    std::vector<std::string> names;
    for (const auto& [name, value] : metrics) names.push_back(name);
    throw bad_input(
        fmt::format("'{}' keeps the best version by {}, which it did not measure", node, fmt::join(e.metrics, " or ")),
        attr_place(*e.node, "metric"), fmt::format("it measures {}", fmt::join(names, ", ")));
  }
}

void Steering::check_names(const NodePlan& trainer, const std::vector<std::string>& until_metrics) const {
  std::set<std::string> measured;
  for (const SteeringEvaluator& e : evaluators_) {
    const auto known = measured_.find(e.node->id);
    if (known == measured_.end()) return;
    for (const auto& [version, metrics] : known->second)
      for (const auto& [name, value] : metrics) measured.insert(name);
  }
  const std::string prefix = kHeldOutPrefix;
  for (const std::string& name : until_metrics)
    if (name.starts_with(prefix) && measured.count(name.substr(prefix.size())) == 0)
      throw bad_input(fmt::format("until: '{}' was not measured", name), attr_place(trainer, "until"),
                      fmt::format("measured were {}", fmt::join(measured, ", ")));
}

std::optional<Steering::Best> Steering::best() const {
  std::optional<Best> best;
  for (const SteeringEvaluator& e : evaluators_) {
    const auto known = measured_.find(e.node->id);
    if (!e.keeps_best || known == measured_.end()) continue;
    for (const auto& [version, metrics] : known->second)
      for (const std::string& name : e.metrics) {
        const auto value = metrics.find(name);
        if (value == metrics.end()) continue;
        if (!best || value->second > best->value) best = Best{e.node->id, name, version, value->second};
        break;
      }
  }
  return best;
}

std::map<std::string, std::vector<double>> Steering::series() const {
  std::map<std::string, std::vector<double>> out;
  for (const SteeringEvaluator& e : evaluators_) {
    const auto known = measured_.find(e.node->id);
    if (known == measured_.end()) continue;
    std::map<std::string, std::vector<double>> here;
    for (const auto& [version, metrics] : known->second)
      if (version % e.every == 0)
        for (const auto& [name, value] : metrics) here[name].push_back(value);
    out.merge(here);
  }
  return out;
}

}  // namespace r1
