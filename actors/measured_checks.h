// Whether the metrics that steer a stage are measured: those that its `until` names as held_out/NAME, and the one by which
// keep=best chooses. Not which names there are (actors/metric_table.h), nor what a value can be (actors/metric_bounds.h).
// Thread rule: pure functions but for reading headers of files.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "actors/graph_checks.h"
#include "runtime/graph/graph.h"

namespace r1 {

// The prompts of one source of an evaluator.
struct AskedPrompts {
  std::string source;  // as the graph spells it
  FactValues facts;
  bool answers = true;  // false: none of them has an answer
};

// Refuses, at the attribute that names it, a metric that no evaluator measures: by attributes and kinds of sources, and by what
// is asked where no file has to be read for it.
void check_best_measured(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan& evaluator);
void check_until_measured(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan& trainer);

// The same after files have been read. `asked`: all prompts of each evaluator of the stage.
void check_steered_facts(const GraphView&, int stage, const std::map<const NodePlan*, std::vector<AskedPrompts>>& asked);

}  // namespace r1
