// What a run that is continued finds in its directory, looked at before the first actor starts (P10).
// Not a repair: batches live in the run store, files beside it are what finished stages left for later ones.
// Thread rule: pure functions on their arguments.
#pragma once

#include "actors/run_env.h"
#include "runtime/store/run_store.h"

namespace r1 {

// Checkpoints (config.json, headers of the weights) and datasets (whole, by their hash) that the run store knows.
// Throws bad_input naming the file and the stage.
void check_run_files(const RunEnv& env, const RunStore& store);

}  // namespace r1
