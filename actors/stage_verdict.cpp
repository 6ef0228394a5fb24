#include "actors/stage_verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "actors/changed_run.h"
#include "actors/held_out.h"
#include "actors/scored_writer.h"
#include "actors/steering.h"
#include "actors/stored_rows.h"
#include "actors/training_plan.h"
#include "actors/training_progress.h"
#include "base/clipped.h"
#include "rewards/expression.h"

namespace r1 {
namespace {

using nlohmann::json;
using Level = StageVerdict::Level;

// A dropped group behind these words: "7,908 had equal rewards".
std::string reason_text(const std::string& reason) {
  if (reason == "equal_rewards") return "had equal rewards";
  if (reason == "reward_error") return "had reward errors";
  if (reason == "stale") return "had grown stale";
  if (reason == "truncated") return "had only truncated completions";
  if (reason == "too_long") return "had too long a prompt";
  if (reason == "contaminated") return "hold what an evaluator asks";
  if (reason == "rejected") return "had no completion to keep";
  return "dropped as " + reason;
}

std::string grouped(int64_t n) {
  std::string text = std::to_string(n);
  for (auto at = static_cast<int64_t>(text.size()) - 3; at > 0; at -= 3) text.insert(static_cast<size_t>(at), ",");
  return text;
}

std::string counted(int64_t n, const char* what) { return fmt::format("{} {}{}", grouped(n), what, n == 1 ? "" : "s"); }

// What became of the draws that a batch has decided about.
struct Outcome {
  int64_t trained = 0, decided = 0, errors = 0;
  std::string reasons;  // "7,908 had equal rewards, 12 had reward errors"; the only one of all: "12 of 12 groups had ..."
};

Outcome outcome_of(const RunStore& store, int64_t id, const char* what) {
  LedgerCounts ledger = store.ledger(id);
  ledger.dropped.erase("stage_ended");
  Outcome o;
  o.trained = o.decided = ledger.trained;
  for (const auto& [reason, n] : ledger.dropped) o.decided += n;
  o.errors = ledger.dropped.count("reward_error") ? ledger.dropped.at("reward_error") : 0;
  std::vector<std::pair<int64_t, std::string>> most_first;
  for (const auto& [reason, n] : ledger.dropped) most_first.emplace_back(-n, reason);
  std::sort(most_first.begin(), most_first.end());
  for (const auto& [n, reason] : most_first) {
    const std::string count =
        o.trained == 0 && most_first.size() == 1 ? fmt::format("{} of {}", grouped(-n), counted(o.decided, what)) : grouped(-n);
    o.reasons += fmt::format("{}{} {}", o.reasons.empty() ? "" : ", ", count, reason_text(reason));
  }
  return o;
}

bool weights_are_those_of_the_start(const RunStore& store, const std::string& stage, int64_t id) {
  const auto last = store.artifact(id, "checkpoint");
  return last && last->second == remembered_start(store, stage);
}

// A weight moves by about its learning rate a step. Sums below this move none that a precision of ours could tell from noise;
// the shortest run that learns anything, one step at 1e-7, has ten times as much.
constexpr double kLeastMovement = 1e-8;

// Of the learning rates of all optimizer steps; nullopt where no step was taken.
std::optional<double> sum_of_learning_rates(const std::vector<json>& batches) {
  std::optional<double> sum;
  for (const json& b : batches)
    if (const auto lr = b.find("lr"); lr != b.end() && lr->is_number())
      sum = sum.value_or(0) + lr->get<double>() * b.value("optimizer_steps", 1.0);
  return sum;
}

StageVerdict training_verdict(const GraphView& graph, const NodePlan& trainer, const std::string& stage, const RunStore& store,
                              int64_t id) {
  TrainingProgress progress;
  progress.plan(remembered_batches(store, stage), trainer.attrs.integer("epochs"));
  std::vector<json> batches;
  for (const auto& [version, text] : store.batch_stats(id))
    progress.note(batches.emplace_back(batch_stats_in(store, id, version, text)));
  const std::optional<double> moved = sum_of_learning_rates(batches);
  Steering steering(graph, trainer.stage);
  steering.restore(store, id);
  progress.note_held_out(steering.series());
  const Until until = parse_until(graph, changed_node(trainer, store.changes(id), INT64_MAX));
  const UntilInput input = progress.until_input();

  const bool draws = trainer.attrs.text("objective") == "grpo";
  const bool pairs = trainer.attrs.text("objective") == "reward_model";
  const char* unit = draws ? "group" : pairs ? "pair" : "example";
  Outcome o;
  if (draws) {
    o = outcome_of(store, id, unit);
  } else {
    o.trained = progress.examples_trained();
    o.decided = progress.examples();
    if (const int64_t rest = o.decided - o.trained; rest > 0)
      o.reasons =
          fmt::format("{} had {}", o.trained == 0 ? fmt::format("{} of {}", grouped(rest), counted(rest, unit)) : grouped(rest),
                      pairs ? "two equal sides" : "no token to learn");
  }
  const double least = trainer.attrs.number("min_trained");
  const double share = o.decided > 0 ? static_cast<double>(o.trained) / static_cast<double>(o.decided) : 0;
  const bool nothing = o.trained == 0 || progress.trained_tokens() == 0;
  const bool unmoved = !nothing && weights_are_those_of_the_start(store, stage, id);
  const bool few = !nothing && share < least, idle = too_idle(trainer, progress.idle()) && !until.reached(input);
  const std::string goal = until.goal(input);

  StageVerdict v;
  if (o.decided == 0) {
    v.line = "nothing was trained: no batch was formed";
  } else if (nothing) {
    v.line = fmt::format("nothing was trained: {}",
                         o.reasons.empty() ? counted(o.decided, unit) + " without a token to learn" : o.reasons);
  } else {
    v.line = "trained on " + (o.trained < o.decided ? fmt::format("{} of {}", grouped(o.trained), counted(o.decided, unit))
                                                    : counted(o.decided, unit));
    if (!o.reasons.empty()) v.line += ": " + o.reasons;
  }
  if (unmoved) v.line += "; and not one weight is another than when the stage began";
  if (few) v.line += fmt::format("; fewer than min_trained={}", trainer.attrs.text("min_trained"));
  if (idle)
    v.line += fmt::format("; ended, for nothing was trained in the last {} (idle_batches)",
                          progress.idle() == 1 ? "batch" : grouped(progress.idle()) + " batches");
  if (nothing || unmoved || few || idle) {
    v.level = goal.empty() ? Level::failed : Level::fine;
    if (!goal.empty()) v.line += fmt::format("; {} was reached", goal);
    return v;
  }
  if (!until.reached(input)) {
    v.line += fmt::format("; {} gave {} batches, '{}' was not reached", draws ? "count=" : "the source",
                          grouped(progress.batches()), trainer.attrs.text("until"));
    v.level = Level::doubtful;
  }
  if (moved && *moved < kLeastMovement) {
    v.line +=
        fmt::format("; the learning rates of all steps add up to {:.2g}: no weight moved by more than about that", *moved);
    v.level = Level::doubtful;
  }
  if (share < 10 * least || o.errors > 0) v.level = Level::doubtful;
  return v;
}

StageVerdict filter_verdict(const RunStore& store, int64_t id) {
  const Outcome o = outcome_of(store, id, "prompt");
  int64_t kept = 0;
  for (const auto& [version, text] : store.batch_stats(id)) {
    kept += batch_stats_in(store, id, version, text).value("kept", int64_t{0});
  }
  if (kept == 0) return {Level::failed, fmt::format("kept nothing of {}: {}", counted(o.decided, "prompt"), o.reasons)};
  StageVerdict v{o.errors > 0 ? Level::doubtful : Level::fine,
                 fmt::format("kept {} of {}", counted(kept, "completion"), counted(o.decided, "prompt"))};
  if (!o.reasons.empty()) v.line += ": " + o.reasons;
  return v;
}

StageVerdict scores_verdict(const RunStore& store, int64_t id) {
  const Outcome o = outcome_of(store, id, "prompt");
  int64_t scored = 0;
  for (const auto& [version, text] : store.batch_stats(id))
    scored += batch_stats_in(store, id, version, text).value("kept", int64_t{0});
  if (scored == 0) return {Level::failed, fmt::format("scored nothing of {}: {}", counted(o.decided, "prompt"), o.reasons)};
  StageVerdict v{o.errors > 0 ? Level::doubtful : Level::fine,
                 fmt::format("scored {} of {}", counted(scored, "completion"), counted(o.decided, "prompt"))};
  if (!o.reasons.empty()) v.line += ": " + o.reasons;
  return v;
}

StageVerdict evaluation_verdict(const GraphView& graph, const StagePlan& stage, const RunStore& store, int64_t id) {
  std::string names;
  std::set<std::string> measured;
  if (const auto after = held_out_metrics_of(graph, stage, store, id, "after"))
    for (const auto& [name, value] : after->items())
      // How many prompts there were, and how many were left out, says nothing of the model.
      if (value.is_number() && name != "problems" && name != "too_long")
        measured.insert(name), names += (names.empty() ? "" : ", ") + name;
  if (names.empty()) return {Level::failed, "nothing was measured"};
  for (const int n : stage.nodes) {
    const NodePlan& node = graph.nodes[static_cast<size_t>(n)];
    if (node.role != "evaluator" || node.attrs.text("rewards").empty()) continue;
    std::vector<std::string> asked = RewardExpression::parse(node.attrs.text("rewards")).variables();
    asked.emplace_back("reward");
    const std::string own = node.id + "/";  // of several evaluators each has its own names too
    const bool several =
        std::any_of(measured.begin(), measured.end(), [&](const std::string& m) { return m.starts_with(own); });
    if (std::none_of(asked.begin(), asked.end(),
                     [&](const std::string& name) { return measured.count(several ? own + name : name) != 0; }))
      return {Level::failed,
              fmt::format("nothing that {}.rewards asks was measured: {}", node.id, clipped(node.attrs.text("rewards")))};
  }
  return {Level::fine, "measured " + names};
}

}  // namespace

bool too_idle(const NodePlan& trainer, int64_t idle) {
  const int64_t most = trainer.attrs.integer("idle_batches");
  return most > 0 && idle >= most;
}

StageVerdict stage_verdict(const GraphView& graph, const StagePlan& stage, const RunStore& store, int64_t id) {
  const auto index = static_cast<int>(&stage - graph.stages.data());
  if (const NodePlan* trainer = stage_trainer(graph, index)) return training_verdict(graph, *trainer, stage.name, store, id);
  if (stage_node(graph, index, "filter") != nullptr) return filter_verdict(store, id);
  if (const NodePlan* judge = stage_node(graph, index, "judge"); judge != nullptr && writes_scores(graph, *judge))
    return scores_verdict(store, id);
  if (stage_node(graph, index, "evaluator") != nullptr) return evaluation_verdict(graph, stage, store, id);
  return {Level::failed, "nothing in this stage trains, writes a dataset or measures"};
}

}  // namespace r1
