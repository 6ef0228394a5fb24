// Between which values a metric that `until` may name can lie, whatever a model does and learns: for conditions that could
// never come true. Not which metrics a stage has (actors/metric_table.h). Thread rule: pure functions.
#pragma once

#include <map>
#include <string>

#include "rewards/expression.h"
#include "runtime/graph/graph.h"

namespace r1 {

// `metric`: of trainer_metrics().
Bounds metric_bounds(const GraphView&, const NodePlan& trainer, const std::string& metric);

// Of the expression `attr` of a judge, a filter or an evaluator, over completions of one prompt whose facts are `facts` where
// they are named.
Bounds expression_bounds(const GraphView&, const NodePlan&, const std::string& attr,
                         const std::map<std::string, double>& facts = {});

}  // namespace r1
