// Between which values a metric that `until` may name can lie, whatever a model does and learns: for conditions that could
// never come true, and expressions that have one value. Not which metrics a stage has (actors/metric_table.h). Thread rule:
// pure functions.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "rewards/expression.h"
#include "runtime/graph/graph.h"

namespace r1 {

// `metric`: of trainer_metrics().
Bounds metric_bounds(const GraphView&, const NodePlan& trainer, const std::string& metric);

// Rewards of this judge or evaluator that are one value for all completions of a prompt, whatever they say, and a filter's
// `keep` that is 0 for all: where it is said, and what comes of it. Not refused: the run says what came of it, too.
std::vector<std::pair<Where, std::string>> expressions_of_one_value(const GraphView&, const NodePlan&);

}  // namespace r1
