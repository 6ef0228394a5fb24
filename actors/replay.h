// Replay (P4): recomputes every update of a run from its run store and compares weights.
//
// A stage whose run was continued under other arithmetic (runtime/store/arithmetic.h) is replayed part by part, each on a
// device that computes as it was computed. Thread rule: one thread.
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
  bool left_out = false;  // it needs arithmetic that is not here: nothing was recomputed
  std::string note;       // why it is not equal, or what could be compared
};

// Fingerprints of training: of this process's devices as the graph places trainers, of any device, and the last that the run
// had.
struct ReplayArithmetic {
  std::string now, last;
  std::function<std::string(const Device&)> of;
  bool accept = false;  // what was computed by arithmetic that is not here is compared all the same
};

// Every training stage of the graph that has committed batches, in stage order, or its parts; `on_stage` is called after each.
// Without `arithmetic` all is taken for computed as this process computes.
std::vector<ReplayedStage> replay_run(const RunEnv& env, const GraphView& graph, const RunStore& store,
                                      const std::function<void(const ReplayedStage&)>& on_stage,
                                      const ReplayArithmetic* arithmetic = nullptr);

}  // namespace r1
