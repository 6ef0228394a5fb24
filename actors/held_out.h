// What the evaluators of a stage measured, as the run store has it: for summary.json, verdicts, the report and the event files.
// Thread rule: pure functions but for reading the run store.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "actors/evaluation.h"
#include "runtime/graph/graph.h"
#include "runtime/store/run_store.h"

namespace r1 {

// The metrics of the stage's evaluators at `moment` ("before", "after"), an object; nullopt where nothing was measured. Of
// several evaluators each one's metrics stand under ID/NAME too, and NAME alone is the first one's (in the graph's order) that
// has it. `version`: for "during", of which version.
std::optional<nlohmann::ordered_json> held_out_metrics_of(const GraphView&, const StagePlan&, const RunStore&, int64_t stage_id,
                                                          const std::string& moment, int64_t version = -1);

// The names of the `rewards` of the stage's evaluators, "reward" first; empty where none has any.
std::vector<std::string> held_out_reward_names(const GraphView&, const StagePlan&);

// What an evaluation keeps, as rows of the run store.
std::vector<ResponseRow> response_rows(const std::vector<EvaluatedSource>& kept);

// The hash of the reward model that comes to `node` as `name`: of the weights that an earlier stage trained, or the path of an
// artifact. With it two evaluations by other models are not taken for one.
std::string stage_model_hash(const StageJournal&, const GraphView&, const NodePlan& node, const std::string& name);

}  // namespace r1
