// What to type after numbers that are not finite. Thread rule: pure.
#pragma once

#include "models/finite.h"
#include "runtime/graph/graph.h"

namespace r1 {

// `error` with a hint that continues the run with a tenth of `trainer`'s learning rate.
Error with_smaller_rate(const NotFinite& error, const GraphView& graph, const NodePlan& trainer);

}  // namespace r1
