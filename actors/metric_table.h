// The metrics of a run, in one place: what a batch's statistics hold and which stages have it, and what an evaluator reports.
// Not the numbers (actors/batch_statistics.h computes them). `until`, the checks, the terminal and the report read these
// tables.
//
// Beside the table stand the names that a judge's `rewards` uses: each is recorded per batch under its own name, as the mean
// over the completions for which it was evaluated.
// Thread rule: pure functions.
#pragma once

#include <string>
#include <vector>

#include "runtime/graph/graph.h"

namespace r1 {

// A number of a batch's statistics (`batch_stats` of the run store). Absent where it was not measured, never 0.
struct BatchMetric {
  enum class Needs { nothing, groups, reference, examples, pairs, mtp, experts };
  const char* name;
  const char* title;  // of its chart
  const char* note;   // beside the title: the unit, or what one value is about
  Needs needs;
  bool trained;  // about what was learned: absent in a batch without an optimizer step
};
const std::vector<BatchMetric>& batch_metrics();
const BatchMetric* batch_metric(const std::string& name);  // null: there is none

// What an evaluator reports for held-out prompts or pairs, in the order in which tables show it.
struct HeldOutMetric {
  std::string name;
  std::string header;   // of a column of the report
  std::string shorter;  // of a column on the terminal
  std::string meaning;
  std::string note;  // the unit, or what one value is about, as BatchMetric's
  bool share;        // 0 to 1
  // What a stage is about, shown first, in the order of the table; or what it changed on the way, most change first; or a
  // column of tables only.
  enum class Place { leads, follows, tabled };
  Place place = Place::tabled;
  int decimals = 1;  // of what is no share
};
const std::vector<HeldOutMetric>& held_out_metrics();
// The same with `reward` before them and a column behind them for each other name of `rewards` (of evaluators' expressions)
// that is not among them.
std::vector<HeldOutMetric> held_out_columns(const std::vector<std::string>& rewards);

// What every completion is scored with, whatever the judge's expression: parts that are recorded where they apply.
const std::vector<std::string>& standing_parts();

// Whether a part of a reward program cannot be recorded under this name: it is a batch's own metric, or a rule.
bool metric_name_taken(const std::string& name);

// The names that the stage's judge scores: those of its `rewards`, the parts that its programs declare, and the standing parts.
// Empty without a judge.
std::vector<std::string> scored_names(const GraphView& graph, int stage);

// Those of them that the judge's `rewards` asks for: what a running stage is shown by. Facts of prompts are not among them.
std::vector<std::string> asked_names(const GraphView& graph, int stage);

// Whether a stage is shown by this metric. `asked`: the names of its judge's or its evaluators' `rewards`, empty without; the
// parts that every completion is scored with are shown where it names them.
bool shown_metric(const std::string& metric, const std::vector<std::string>& asked);

// In front of the name of what an evaluator measured on the way, where `until` names it: held_out/accuracy.
constexpr const char* kHeldOutPrefix = "held_out/";

// "reward", the names of the evaluator's `rewards` and the parts that their programs declare; empty without `rewards`.
std::vector<std::string> evaluator_reward_names(const NodePlan& evaluator);
// What this evaluator may report, but for the names that come of its data (accuracy_KIND, SOURCE/accuracy).
std::vector<std::string> measured_names(const NodePlan& evaluator);

// The metrics that a batch of this trainer can have, and those of evaluators that it waits for: what `until` may name.
std::vector<std::string> trainer_metrics(const GraphView& graph, const NodePlan& trainer);

}  // namespace r1
