// What to type after numbers that are not finite. Thread rule: pure.
#pragma once

#include "base/error.h"
#include "runtime/graph/graph.h"

namespace r1 {

// `error` with a hint that continues the run with a tenth of `trainer`'s learning rate; as it is when it is final, or no
// failure of the run.
Error with_smaller_rate(const Error& error, const GraphView& graph, const NodePlan& trainer);

}  // namespace r1
