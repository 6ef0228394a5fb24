// What an evaluator measures, as its graph node says: the same at the head and at a node of another process.
// Thread rule: pure but for reading files.
#pragma once

#include <string>

#include "actors/evaluation.h"
#include "runtime/flow/stage_memory.h"

namespace r1 {

// `before`: of the stage's first weights.
EvaluationSpec planned_evaluation(const RunEnv&, const GraphView&, const NodePlan& evaluator, bool before);
// EvaluationRow::evaluation without the hash of the weights, which stands in front of it.
std::string evaluation_key(const EvaluationSpec&, const StageJournal&, const GraphView&, const NodePlan& evaluator);

}  // namespace r1
