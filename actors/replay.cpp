#include "actors/replay.h"

#include "actors/changed_run.h"
#include "actors/training_attrs.h"
#include "actors/training_plan.h"

namespace r1 {

static void replay_stage(const RunEnv& run, const GraphView& graph, const RunStore& store, const NodePlan& trainer, int64_t id,
                         ReplayedStage& r) {
  const RunEnv env = env_of(run, trainer);
  const std::string& stage = graph.stages[trainer.stage].name;
  const std::vector<ChangeRow> changes = store.changes(id);
  const auto config_at = [&](int64_t version) {
    return trainer_config_at(env, graph, trainer, remembered_batches(store, stage), changes, version);
  };
  const auto engine = env.engines->learner(trainer.id, config_at(0), *trainer_start_weights(env, graph, trainer));
  for (int64_t v = 0; v < r.batches; ++v) {
    if (changes_at(changes, v)) engine->change(config_at(v));
    engine->train(stored_batch(store, id, v));
    // Every version that was published has its hash in the store: the first that differs is named.
    const auto known = store.version_hash(id, v + 1);
    if (!known || *known == engine->weights()->hash().hex()) continue;
    r.note = "version " + std::to_string(v + 1) + " is the first that differs";
    r.recomputed = engine->masters_hash().hex();
    return;
  }
  r.recomputed = engine->masters_hash().hex();
  if (r.recorded.empty()) {
    r.equal = true;
    r.note = "the stage has not ended: every published version is equal";
  } else {
    r.equal = r.recorded == r.recomputed;
    if (!r.equal) r.note = "the final weights differ";
  }
}

std::vector<ReplayedStage> replay_run(const RunEnv& env, const GraphView& graph, const RunStore& store,
                                      const std::function<void(const ReplayedStage&)>& on_stage) {
  std::vector<ReplayedStage> results;
  for (const StageRow& row : store.stages()) {
    const StagePlan* stage = graph.stage(row.name);
    if (stage == nullptr) continue;
    const NodePlan* trainer = stage_trainer(graph, static_cast<int>(stage - graph.stages.data()));
    ReplayedStage r;
    r.stage = row.name;
    r.batches = store.batch_count(row.id);
    if (trainer == nullptr || r.batches == 0) continue;
    if (const auto checkpoint = store.artifact(row.id, "checkpoint")) r.recorded = checkpoint->second;
    try {
      replay_stage(env, graph, store, *trainer, row.id, r);
    } catch (const Error& e) {
      r.equal = false;
      r.note = e.what();
    }
    on_stage(r);
    results.push_back(std::move(r));
  }
  return results;
}

}  // namespace r1
