// Between which values a metric that `until` may name can lie, whatever a model does and learns: for conditions that could
// never come true. Not which metrics a stage has (actors/metric_table.h). Thread rule: pure functions.
#pragma once

#include <string>

#include "rewards/expression.h"
#include "runtime/graph/graph.h"

namespace r1 {

// `metric`: of trainer_metrics().
Bounds metric_bounds(const GraphView&, const NodePlan& trainer, const std::string& metric);

}  // namespace r1
