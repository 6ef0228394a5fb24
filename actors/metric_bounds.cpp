#include "actors/metric_bounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "actors/metric_table.h"
#include "actors/run_env.h"
#include "actors/steering.h"
#include "base/clipped.h"
#include "rewards/program_calls.h"
#include "rewards/rules.h"

namespace r1 {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kMostWordsOfToken = 65536;  // no token has as many bytes

bool among(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Of a name that `scorer`, a judge or an evaluator, may use in its rewards; `longest`: of a completion, in tokens.
Bounds scored_bounds(const GraphView& graph, const NodePlan& scorer, double longest, const std::string& name) {
  if (among(reward_model_names(graph, scorer), name) || is_program_call(name)) return {};
  if (name == "length") return {0, longest};
  if (name == "think_length") return {0, kMostWordsOfToken * longest};
  return {0, 1};  // every other rule is a share, and a fact is 0 or 1
}

// Of what one completion is scored with, and of its mean: `reward`, and the names of the expression.
Bounds reward_bounds(const GraphView& graph, const NodePlan& scorer, double longest, const std::string& name) {
  const RewardExpression rewards = RewardExpression::parse(scorer.attrs.text("rewards"), attr_place(scorer, "rewards"));
  const auto of = [&](const std::string& used) { return scored_bounds(graph, scorer, longest, used); };
  if (name == "reward") return rewards.bounds(of);
  if (among(rewards.variables(), name) || among(rule_names(), name)) return of(name);
  return {};  // a part of a program
}

Bounds held_out_bounds(const GraphView& graph, const NodePlan& trainer, const std::string& name) {
  static const std::set<std::string> kShares = {"cons", "general_accuracy", "courtesy", "over_refusal", "truncated"};
  const std::vector<SteeringEvaluator> evaluators = steering_evaluators(graph, trainer.stage);
  for (const SteeringEvaluator& e : evaluators)
    if (among(reward_model_names(graph, *e.node), name)) return {};
  for (const HeldOutMetric& m : held_out_metrics())
    if (m.name == name && m.share) return {0, 1};
  if (kShares.count(name) != 0) return {0, 1};
  Bounds all{kInfinity, -kInfinity};
  for (const SteeringEvaluator& e : evaluators) {
    const auto longest = static_cast<double>(e.node->attrs.integer("max_tokens"));
    if (name != "length" && e.node->attrs.text("rewards").empty()) continue;
    const Bounds own = name == "length" ? Bounds{0, longest} : reward_bounds(graph, *e.node, longest, name);
    all = {std::min(all.least, own.least), std::max(all.most, own.most)};
  }
  return all.least <= all.most ? all : Bounds{};
}

// How many tokens a completion has at most that `node` of this stage sees.
double longest_completion(const GraphView& graph, const NodePlan& node) {
  const NodePlan* sampler = node.role == "evaluator" ? &node : stage_node(graph, node.stage, "generator");
  return sampler != nullptr ? static_cast<double>(sampler->attrs.integer("max_tokens")) : kInfinity;
}

bool keeps_nothing(const GraphView& graph, const NodePlan& filter, const RewardExpression& keep) {
  const NodePlan* judge = stage_node(graph, filter.stage, "judge");
  if (judge == nullptr) return false;
  const double longest = longest_completion(graph, filter);
  const Bounds kept = keep.bounds([&](const std::string& name) {
    return name == "reward" ? reward_bounds(graph, *judge, longest, name) : scored_bounds(graph, *judge, longest, name);
  });
  return kept.least == 0 && kept.most == 0;
}

}  // namespace

std::vector<std::pair<Where, std::string>> expressions_of_one_value(const GraphView& graph, const NodePlan& node) {
  const bool filters = node.role == "filter";
  if (!filters && node.role != "judge" && node.role != "evaluator") return {};
  const std::string attr = filters ? "keep" : "rewards";
  if (!node.attrs.has(attr) || node.attrs.text(attr).empty()) return {};
  const Where where = attr_place(node, attr);
  const RewardExpression expression = RewardExpression::parse(node.attrs.text(attr), where);
  const std::string shown = fmt::format("{}=\"{}\"", attr, clipped(expression.text()));
  if (filters) {
    if (!keeps_nothing(graph, node, expression)) return {};
    return {{where, shown + " is 0 for every completion, whatever it says: nothing will be kept"}};
  }
  const NodePlan* trainer = stage_trainer(graph, node.stage);
  if (node.role == "judge" && trainer == nullptr) return {};
  const double longest = longest_completion(graph, node);
  const std::vector<std::string> models = reward_model_names(graph, node);
  const bool one = expression.same_for_all(
      [&](const std::string& name) { return scored_bounds(graph, node, longest, name); },
      [&](const std::string& name) { return !name.ends_with(')') && !among(models, name) && !among(rule_names(), name); });
  if (!one) return {};
  const std::string so =
      node.role == "judge" ? fmt::format("no group will teach '{}' anything", trainer->id) : "it will say nothing of a model";
  return {{where, fmt::format("{} has one value for all completions of a prompt, whatever they say: {}", shown, so)}};
}

Bounds metric_bounds(const GraphView& graph, const NodePlan& trainer, const std::string& metric) {
  const std::string prefix = kHeldOutPrefix;
  if (metric.starts_with(prefix)) return held_out_bounds(graph, trainer, metric.substr(prefix.size()));
  const NodePlan* judge = stage_node(graph, trainer.stage, "judge");
  if (judge != nullptr && among(reward_model_names(graph, *judge), metric)) return {};
  static const std::set<std::string> kShares = {"clip_fraction", "pair_accuracy", "mtp_accuracy"};
  if (kShares.count(metric) != 0 || among(standing_parts(), metric)) return {0, 1};
  const NodePlan* generator = stage_node(graph, trainer.stage, "generator");
  const double longest = generator != nullptr ? static_cast<double>(generator->attrs.integer("max_tokens")) : kInfinity;
  if (metric == "length") return {0, longest};
  if (metric == "kept") return {0, static_cast<double>(stage_window(graph, trainer.stage))};
  // A policy's loss may be of either sign, any other is a negated log-probability.
  if (metric == "loss") return trainer.attrs.text("objective") == "grpo" ? Bounds{} : Bounds{0, kInfinity};
  if (metric != "reward" && batch_metric(metric) != nullptr) return {0, kInfinity};
  return judge != nullptr ? reward_bounds(graph, *judge, longest, metric) : Bounds{};
}

}  // namespace r1
