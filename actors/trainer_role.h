// The trainer (and the distiller): commits each batch to the run store, then learns from it, then publishes the new version.
//
// Order of one version: commit (durable) -> optimizer steps -> publish -> perhaps a snapshot. A restarted trainer loads the
// last snapshot, replays the committed batches after it, and ends where it would have been, bit for bit.
#pragma once

#include "actors/run_env.h"
#include "runtime/flow/role.h"

namespace r1 {

std::unique_ptr<Role> make_trainer_role(const RunEnv& env);

}  // namespace r1
