// What a stage has to show for itself when all its roles have finished, told by its rows in the run store. A stage in which
// nothing was learned has failed, whatever its roles say (P11). Not the summary, which measures; this one judges.
// Thread rule: pure function but for reading the run store.
#pragma once

#include <string>

#include "runtime/conductor/stage_verdict.h"
#include "runtime/graph/graph.h"
#include "runtime/store/run_store.h"

namespace r1 {

// failed: no token was trained; the last weights are the first ones, to the bit; fewer than `min_trained` of the groups (of
// stages of examples: of the examples) were trained; nothing was trained in the last `idle_batches` batches; a filter kept
// nothing; an evaluator measured nothing, or nothing that its rewards ask. doubtful, among others: learning rates so small that
// no weight can have moved. A stage whose `until` was met by above() or below() of a metric is done all the same: a solved task
// is no failure.
StageVerdict stage_verdict(const GraphView&, const StagePlan&, const RunStore&, int64_t id);

// Whether a trainer ends its stage because nothing was trained for `idle_batches` batches (0: never).
bool too_idle(const NodePlan& trainer, int64_t idle);

}  // namespace r1
