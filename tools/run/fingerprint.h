// What a run's arithmetic hangs on, in words: kept when it runs, compared when it goes on or is replayed.
#pragma once

#include <string>

#include "actors/replay.h"
#include "actors/run_env.h"
#include "runtime/graph/graph.h"
#include "runtime/store/run_store.h"

namespace r1 {

// Of all that computes, after use_devices(). Keeps it, and what trains alone. Throws bad_input where the run was started with
// another, unless `accept`: then an event says so.
std::string keep_fingerprint(const RunEnv& env, const GraphView& graph, RunStore& store, bool accept);

// What a replay has to know of it; `env` and `graph` are borrowed. Throws bad_input where what trained this run last computed
// otherwise than this process, unless `accept`.
ReplayArithmetic replay_arithmetic(const RunEnv& env, const GraphView& graph, const RunStore& store, bool accept);

}  // namespace r1
