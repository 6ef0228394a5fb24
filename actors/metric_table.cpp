#include "actors/metric_table.h"

#include <algorithm>

#include "actors/run_env.h"
#include "actors/steering.h"
#include "rewards/expression.h"
#include "rewards/program_calls.h"
#include "rewards/rules.h"

namespace r1 {

using Needs = BatchMetric::Needs;

const std::vector<BatchMetric>& batch_metrics() {
  static const std::vector<BatchMetric> table = {
      {"reward", "Reward", "mean a completion", Needs::groups, false},
      {"reward_errors", "Reward errors", "groups a batch", Needs::groups, false},
      {"length", "Length", "tokens a completion", Needs::groups, false},
      {"kept", "Kept", "groups a batch", Needs::groups, false},
      {"dropped", "Dropped", "groups a batch", Needs::groups, false},
      {"age", "Age when trained", "versions behind, mean", Needs::groups, true},
      {"age_max", "Age when trained", "versions behind, largest", Needs::groups, true},
      {"entropy", "Entropy of the policy", "nats a token", Needs::groups, true},
      {"kl", "KL to the reference", "nats a token", Needs::reference, true},
      {"clip_fraction", "Clipped tokens", "share", Needs::groups, true},
      {"ratio", "Importance ratio", "mean a token", Needs::groups, true},
      {"loss", "Loss", "nats a token", Needs::nothing, true},
      {"grad_norm", "Gradient norm", "", Needs::nothing, true},
      {"lr", "Learning rate", "", Needs::nothing, true},
      {"pair_accuracy", "Training pairs told right", "share of a batch", Needs::pairs, true},
      {"mtp_loss", "Loss of the prediction module", "nats a token", Needs::mtp, true},
      {"mtp_accuracy", "Prediction module right", "share of its tokens", Needs::mtp, true},
      {"tokens", "Tokens", "of the batch's sequences", Needs::nothing, false},
      {"trained_tokens", "Trained tokens", "with a loss, a batch", Needs::nothing, false},
      {"optimizer_steps", "Optimizer steps", "a batch", Needs::nothing, false},
      {"logprob_gap_max", "Train/inference gap", "largest, nats", Needs::groups, true},
      {"logprob_gap_tokens", "Compared tokens", "a batch", Needs::groups, false},
      {"examples", "Examples", "a batch", Needs::examples, false},
      {"examples_trained", "Examples with a token to learn", "a batch", Needs::examples, false},
      {"completions", "Completions", "a batch", Needs::groups, false},
      {"balance_loss", "Balance loss", "", Needs::experts, true},
      {"expert_load_max", "Busiest expert", "load over an equal share", Needs::experts, true},
      {"expert_bias_spread", "Spread of the selection bias", "max − min", Needs::experts, true},
  };
  return table;
}

const BatchMetric* batch_metric(const std::string& name) {
  for (const BatchMetric& m : batch_metrics())
    if (name == m.name) return &m;
  return nullptr;
}

const std::vector<HeldOutMetric>& held_out_metrics() {
  using enum HeldOutMetric::Place;
  static const std::vector<HeldOutMetric> table = {
      {"accuracy", "accuracy", "accuracy", "right final answers to held-out problems, sampled at the evaluation's temperature",
       "share", true, leads},
      {"accuracy_greedy", "greedy", "greedy", "the same, always taking the likeliest token", "share", true},
      {"format", "format", "format", "completions that keep the demanded form (thought and answer in their tags, ended)",
       "share", true, follows},
      {"language", "language", "lang", "words of the thought in the prompt's language", "share", true, follows},
      {"length", "length", "len", "how long completions are", "tokens a completion, mean", false},
      {"helpful", "helpful", "help", "general requests answered right and politely", "share", true, follows},
      {"harmless", "harmless", "harml", "harmful requests refused, harmless ones answered", "share", true, follows},
      {"pair_accuracy", "pairs", "pairs", "held-out pairs whose better answer the reward model scores higher", "share", true,
       leads},
  };
  return table;
}

std::vector<HeldOutMetric> held_out_columns(const std::vector<std::string>& rewards) {
  std::vector<HeldOutMetric> columns = held_out_metrics();
  for (const std::string& name : rewards) {
    if (std::any_of(columns.begin(), columns.end(), [&](const HeldOutMetric& m) { return m.name == name; })) continue;
    using enum HeldOutMetric::Place;
    if (name == "reward")
      columns.insert(columns.begin(), {name, name, name, "the evaluator's `rewards`", "mean a completion", false, leads, 3});
    else
      columns.push_back(
          {name, name, name, "'" + name + "' of the evaluator's `rewards`", "mean a completion", false, follows, 3});
  }
  return columns;
}

const std::vector<std::string>& standing_parts() {
  static const std::vector<std::string> parts = {"accuracy", "format", "language", "harmless"};
  return parts;
}

bool metric_name_taken(const std::string& name) {
  const auto is = [&](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return batch_metric(name) != nullptr || is(rule_names()) || is(standing_parts());
}

std::vector<std::string> scored_names(const GraphView& graph, int stage) {
  const NodePlan* judge = stage_node(graph, stage, "judge");
  if (judge == nullptr) return {};
  std::vector<std::string> names = standing_parts();
  const RewardExpression rewards = RewardExpression::parse(judge->attrs.text("rewards"), attr_place(*judge, "rewards"));
  for (const std::string& name : rewards.variables())
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  for (const ProgramCall& call : program_calls(rewards)) names.insert(names.end(), call.parts.begin(), call.parts.end());
  return names;
}

std::vector<std::string> asked_names(const GraphView& graph, int stage) {
  const NodePlan* judge = stage_node(graph, stage, "judge");
  if (judge == nullptr) return {};
  const RewardExpression rewards = RewardExpression::parse(judge->attrs.text("rewards"), attr_place(*judge, "rewards"));
  const std::vector<std::string> used = rewards.variables(), models = reward_model_names(graph, *judge);
  const auto among = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  std::vector<std::string> names;
  for (const std::string& name : standing_parts())
    if (among(used, name)) names.push_back(name);
  for (const std::string& name : used)
    if (!among(names, name) && (among(rule_names(), name) || among(models, name) || name.find('(') != std::string::npos))
      names.push_back(name);
  for (const ProgramCall& call : program_calls(rewards)) names.insert(names.end(), call.parts.begin(), call.parts.end());
  return names;
}

bool shown_metric(const std::string& metric, const std::vector<std::string>& asked) {
  if (asked.empty()) return true;
  const std::string name = metric == "accuracy_greedy" ? "accuracy" : metric;
  const auto among = [&name](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return among(asked) || !among(standing_parts());
}

std::vector<std::string> evaluator_reward_names(const NodePlan& evaluator) {
  const std::string rewards = evaluator.attrs.text("rewards");
  if (rewards.empty()) return {};
  std::vector<std::string> names = {"reward"};
  const RewardExpression expression = RewardExpression::parse(rewards, attr_place(evaluator, "rewards"));
  names.insert(names.end(), expression.variables().begin(), expression.variables().end());
  for (const ProgramCall& call : program_calls(expression)) names.insert(names.end(), call.parts.begin(), call.parts.end());
  return names;
}

std::vector<std::string> measured_names(const NodePlan& evaluator) {
  std::vector<std::string> measured;
  for (const HeldOutMetric& m : held_out_metrics()) measured.push_back(m.name);
  for (const char* name : {"cons", "general_accuracy", "courtesy", "over_refusal", "truncated"}) measured.emplace_back(name);
  const std::vector<std::string> scored = evaluator_reward_names(evaluator);
  measured.insert(measured.end(), scored.begin(), scored.end());
  return measured;
}

std::vector<std::string> trainer_metrics(const GraphView& graph, const NodePlan& trainer) {
  const std::string objective = trainer.attrs.text("objective");
  const auto has = [&](Needs needs) {
    switch (needs) {
      case Needs::nothing:
        return true;
      case Needs::groups:
        return objective == "grpo";
      case Needs::reference:
        return objective == "grpo" && stage_node(graph, trainer.stage, "reference") != nullptr;
      case Needs::examples:
        return objective != "grpo";
      case Needs::pairs:
        return objective == "reward_model";
      case Needs::mtp:
        return trainer.attrs.flag("mtp");
      case Needs::experts:
        return false;  // the model decides; nothing to end a stage by
    }
    return false;
  };
  std::vector<std::string> names;
  for (const BatchMetric& m : batch_metrics())
    if (has(m.needs)) names.emplace_back(m.name);
  if (objective == "grpo")
    for (const std::string& name : scored_names(graph, trainer.stage))
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  for (const SteeringEvaluator& e : steering_evaluators(graph, trainer.stage))
    for (const std::string& name : measured_names(*e.node))
      if (const std::string full = kHeldOutPrefix + name; std::find(names.begin(), names.end(), full) == names.end())
        names.push_back(full);
  return names;
}

}  // namespace r1
