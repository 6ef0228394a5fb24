// What a trainer node means for its engine: configuration, start weights, batches as they stand in the run store.
// The trainer role and `r1-run --replay` share it, so that a replayed update is the update.
// Thread rule: pure functions but for reading files and the run store.
#pragma once

#include <memory>

#include "actors/codec.h"
#include "actors/messages.h"
#include "actors/run_env.h"
#include "models/engines.h"
#include "runtime/store/run_store.h"
#include "runtime/flow/stage_memory.h"
#include "runtime/until.h"

namespace r1 {

// What `until` (or epochs=N) says. Metrics that the stage cannot have are bad_input (metric_table.h).
Until parse_until(const GraphView&, const NodePlan& trainer);

// f32 weights that the stage's first version has; reward models get their scalar head here.
std::shared_ptr<WeightSet> trainer_start_weights(const RunEnv&, const GraphView&, const NodePlan& trainer);

// The batch as the engine takes it: item by item, tokens from `trajectories(draw, sample)` or inline.
TrainBatch assemble_batch(const BatchContent& content,
                          const std::function<Sequence(int64_t draw, int32_t sample)>& trajectories);
// The same from the run store.
TrainBatch stored_batch(const RunStore& store, int64_t stage, int64_t version);
TrainBatch stored_batch(const StageJournal& stage, int64_t version);

// Advantages within a group: (r - mean) / (sample std + 1e-4) (docs/recipe.md section 4), or r - mean without `by_deviation`
// (Dr.GRPO, arXiv 2503.20783, section 3.2). Zeros when all rewards are equal.
std::vector<float> group_advantages(const std::vector<double>& rewards, bool by_deviation = true);

// How many batches a stage of examples will have, kept in the run store so that a replay has the same schedule.
void remember_batches(StageJournal& stage, int64_t batches);
int64_t remembered_batches(const RunStore& store, const std::string& stage);

// masters_hash() of version 0, kept so that the end can be told from the beginning. "": an older run.
void remember_start(StageJournal& stage, const Hash128& masters);
std::string remembered_start(const RunStore& store, const std::string& stage);

}  // namespace r1
