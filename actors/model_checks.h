// Whether a role can do with its model what it is there for: models that score (a scalar head) and models that speak are told
// apart, and a reference can follow the policy. Before a run starts (P10); the engines take it for granted.
// Thread rule: pure functions but for reading config.json.
#pragma once

#include <filesystem>

#include "runtime/graph/graph.h"

namespace r1 {

// For a generator, a trainer, a reference or an evaluator. Throws bad_input at the node, or where its source is named.
void check_model_use(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan&);

}  // namespace r1
