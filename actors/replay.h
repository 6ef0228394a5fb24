// Replay (P4): recomputes every update of a run from its run store and compares weights.
// Thread rule: one thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "actors/run_env.h"
#include "runtime/store/run_store.h"

namespace r1 {

struct ReplayedStage {
  std::string stage;
  int64_t batches = 0;
  std::string recorded, recomputed;  // weights_hash; recorded is "" while the stage has not ended
  bool equal = false;
  std::string note;  // why it is not equal, or what could be compared
};

// Every training stage of the graph that has committed batches, in stage order. `on_stage` is called after each.
std::vector<ReplayedStage> replay_run(const RunEnv& env, const GraphView& graph, const RunStore& store,
                                      const std::function<void(const ReplayedStage&)>& on_stage);

}  // namespace r1
