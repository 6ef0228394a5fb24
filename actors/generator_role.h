// The generator: turns prompts into groups of sampled completions, under the newest weights it was given.
//
// Admission (docs/architecture.md section 6): with the trainer at version v, staleness k and B draws a batch, draw d may start
// when d < (k + v + 1) B. So no token of a batch is older than k versions when the batch starts. Draws start in order.
#pragma once

#include "actors/run_env.h"
#include "runtime/flow/role.h"

namespace r1 {

std::unique_ptr<Role> make_generator_role(const RunEnv& env);

}  // namespace r1
