#include "actors/measured_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <set>

#include "actors/evaluation_metrics.h"
#include "actors/metric_table.h"
#include "actors/steering.h"
#include "actors/training_plan.h"
#include "tasks/spec.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;

// Why an evaluator does not measure a metric, and what would.
struct Missing {
  std::string why, hint;
};
using Asked = std::vector<AskedPrompts>;

// "gsm8k/cons" is the cons of one part of the data.
std::string base_of(const std::string& metric) { return metric.substr(metric.rfind('/') + 1); }

bool of_rewards(const NodePlan& evaluator, const std::string& metric) {
  const std::vector<std::string> names = evaluator_reward_names(evaluator);
  return std::find(names.begin(), names.end(), base_of(metric)) != names.end();
}

std::optional<Missing> by_attributes(const NodePlan& evaluator, const std::string& metric) {
  const std::string base = base_of(metric), &id = evaluator.id;
  if (base == "cons" && evaluator.attrs.integer("samples") == 1)
    return Missing{fmt::format("'{}' takes one sample of each prompt, and cons is what most of several say", id),
                   fmt::format("samples=4 on '{}', or accuracy", id)};
  if (base.ends_with("_greedy") && !evaluator.attrs.flag("greedy"))
    return Missing{fmt::format("'{}' has no pass with argmax", id),
                   fmt::format("greedy=true on '{}', or {}", id, metric.substr(0, metric.rfind('_')))};
  if (base.starts_with("reward") && evaluator.attrs.text("rewards").empty())
    return Missing{fmt::format("'{}' has no rewards", id), fmt::format("rewards=\"...\" on '{}', or accuracy", id)};
  return std::nullopt;
}

std::optional<Missing> by_kinds(const fs::path& graph_dir, const NodePlan& evaluator, const std::string& metric) {
  std::set<RecordKind> kinds;
  for (const std::string& s : split_sources(evaluator.attrs.text("source")))
    kinds.insert(checked_source_kind(graph_dir, evaluator, s));
  const bool of_pairs = base_of(metric) == "pair_accuracy";
  if (kinds.count(of_pairs ? RecordKind::pair : RecordKind::prompt) != 0) return std::nullopt;
  return of_pairs ? Missing{fmt::format("'{}' asks prompts, and is given no pairs", evaluator.id), "accuracy"}
                  : Missing{fmt::format("'{}' is given pairs, and asks no prompts", evaluator.id), "pair_accuracy"};
}

std::set<std::string> values(const Asked& asked, const char* fact) {
  std::set<std::string> all;
  for (const AskedPrompts& a : asked)
    if (const auto it = a.facts.find(fact); it != a.facts.end()) all.insert(it->second.begin(), it->second.end());
  return all;
}

// SOURCE/accuracy and DOMAIN/accuracy, where there are several.
std::optional<Missing> by_part(const Asked& asked, const std::string& part, const std::string& metric) {
  std::set<std::string> parts = values(asked, "domain");
  parts.erase("general");
  if (parts.size() < 2) parts.clear();
  std::vector<std::string> sources;
  for (const AskedPrompts& a : asked) sources.push_back(a.source);
  if (sources.size() > 1)
    for (const std::string& label : source_labels(sources)) parts.insert(label);
  if (parts.count(part) != 0) return std::nullopt;
  return Missing{fmt::format("there is no part '{}' of what is asked", part),
                 parts.empty() ? base_of(metric) : fmt::format("parts are {}", fmt::join(parts, ", "))};
}

// evaluation_metrics.h says which metric is about which prompts.
std::optional<Missing> by_prompts(const NodePlan& evaluator, const std::string& metric, const Asked& asked) {
  static const std::set<std::string> kReasoning = {"accuracy", "accuracy_greedy", "format", "language", "length"},
                                     kGeneral = {"general_accuracy", "general_accuracy_greedy",
                                                 "harmless",         "courtesy",
                                                 "over_refusal",     "helpful"};
  const std::string base = base_of(metric);
  if (base.size() < metric.size())
    if (const auto missing = by_part(asked, metric.substr(0, metric.rfind('/')), metric)) return missing;
  const auto none = [&](const std::string& has, const std::string& hint) {
    return Missing{fmt::format("no prompt of '{}' {}", evaluator.id, has), hint};
  };
  const std::set<std::string> domains = values(asked, "domain");
  const bool general = domains.count("general") != 0;
  if (kReasoning.count(base) != 0 && general && domains.size() == 1)
    return none("is of another domain than \"general\"", base.starts_with("accuracy") ? "general_" + base : "general_accuracy");
  if (kGeneral.count(base) != 0 && !general) return none("is of domain \"general\"", "accuracy");
  if (base == "cons" || base.find("accuracy") != std::string::npos)
    if (std::none_of(asked.begin(), asked.end(), [](const AskedPrompts& a) { return a.answers; }))
      return none("has an answer", "\"answer\" in its records, or a metric of its rewards");
  if (base == "harmless" && values(asked, "harm").count("1") == 0) return none("has harm=1", "accuracy");
  for (const auto& [name, fact] : {std::pair{"courtesy", "courtesy"}, {"helpful", "courtesy"}, {"over_refusal", "refusal"}})
    if (base == name && values(asked, fact).empty()) return none(fmt::format("has \"{}\"", fact), "accuracy");
  if (!base.starts_with("accuracy_") || base == "accuracy_greedy") return std::nullopt;
  const std::set<std::string> kinds = values(asked, "kind");
  if (kinds.count(base.substr(9)) != 0 || kinds.size() >= Source::kMaxFactValues) return std::nullopt;
  return none(fmt::format("is of kind \"{}\"", base.substr(9)),
              kinds.empty() ? "accuracy" : fmt::format("kinds are {}", fmt::join(kinds, ", ")));
}

// The prompts of an evaluator of which all sources are built in.
std::optional<Asked> asked_of(const fs::path& graph_dir, const NodePlan& evaluator) {
  Asked asked;
  for (const std::string& s : split_sources(evaluator.attrs.text("source"))) {
    const std::string source = located_source(s, graph_dir);
    if (reads_files(source)) return std::nullopt;
    if (checked_source_kind(graph_dir, evaluator, s) != RecordKind::prompt) continue;
    AskedPrompts& a = asked.emplace_back();
    a.source = s;
    a.facts = placed(evaluator, "source", [&] { return open_source(source, 0)->fact_values(); });
    const auto checkable = a.facts.find("checkable");
    a.answers = checkable == a.facts.end() || checkable->second.count("1") != 0;
  }
  return asked;
}

using Why = std::function<std::optional<Missing>(const NodePlan& evaluator, const std::string& metric)>;

// Of several metrics one is enough.
void refuse_best(const NodePlan& evaluator, const Why& why) {
  const std::vector<std::string> metrics = deciding_metrics(evaluator);
  std::optional<Missing> first;
  for (const std::string& metric : metrics) {
    const auto missing = why(evaluator, metric);
    if (!missing) return;
    if (!first) first = missing;
  }
  const bool said = !evaluator.attrs.text("metric").empty();
  throw bad_input(fmt::format("'{}' keeps the best version by {}, which it will not measure: {}", evaluator.id,
                              fmt::join(metrics, " or "), first->why),
                  attr_place(evaluator, said ? "metric" : "keep"), first->hint);
}

void refuse_until(const GraphView& graph, const NodePlan& trainer, const Why& why) {
  const std::string prefix = kHeldOutPrefix;
  for (const std::string& name : parse_until(graph, trainer).metrics()) {
    if (!name.starts_with(prefix)) continue;
    const std::string metric = name.substr(prefix.size());
    std::optional<Missing> first;
    bool measured = false;
    for (const SteeringEvaluator& e : steering_evaluators(graph, trainer.stage)) {
      const std::vector<std::string> names = measured_names(*e.node);
      if (std::find(names.begin(), names.end(), metric) == names.end()) continue;
      const auto missing = why(*e.node, metric);
      measured = measured || !missing;
      if (!first) first = missing;
    }
    if (measured || !first) continue;
    throw bad_input(fmt::format("until: '{}' is never measured: {}", name, first->why), attr_place(trainer, "until"),
                    first->hint);
  }
}

Why why_before_reading(const fs::path& graph_dir) {
  return [graph_dir](const NodePlan& evaluator, const std::string& metric) -> std::optional<Missing> {
    if (of_rewards(evaluator, metric)) return std::nullopt;
    if (const auto missing = by_attributes(evaluator, metric)) return missing;
    if (const auto missing = by_kinds(graph_dir, evaluator, metric)) return missing;
    if (base_of(metric) == "pair_accuracy") return std::nullopt;
    const auto asked = asked_of(graph_dir, evaluator);
    return asked ? by_prompts(evaluator, metric, *asked) : std::nullopt;
  };
}

}  // namespace

void check_best_measured(const fs::path& graph_dir, const GraphView&, const NodePlan& evaluator) {
  if (evaluator.attrs.text("keep") == "best") refuse_best(evaluator, why_before_reading(graph_dir));
}

void check_until_measured(const fs::path& graph_dir, const GraphView& graph, const NodePlan& trainer) {
  refuse_until(graph, trainer, why_before_reading(graph_dir));
}

void check_steered_facts(const GraphView& graph, int stage, const std::map<const NodePlan*, Asked>& asked) {
  const Why why = [&asked](const NodePlan& evaluator, const std::string& metric) -> std::optional<Missing> {
    const auto it = asked.find(&evaluator);
    if (it == asked.end() || base_of(metric) == "pair_accuracy" || of_rewards(evaluator, metric)) return std::nullopt;
    return by_prompts(evaluator, metric, it->second);
  };
  for (const SteeringEvaluator& e : steering_evaluators(graph, stage))
    if (e.keeps_best) refuse_best(*e.node, why);
  if (const NodePlan* trainer = stage_trainer(graph, stage)) refuse_until(graph, *trainer, why);
}

}  // namespace r1
