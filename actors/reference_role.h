// The reference: adds the log-probabilities of a frozen model to batches, for the KL term. It starts from what the trainer
// starts from and is refreshed along a carries=weights edge every `every` versions: batch b is scored by version floor(b /
// every) * every.
#pragma once

#include "actors/run_env.h"
#include "runtime/flow/role.h"

namespace r1 {

std::unique_ptr<Role> make_reference_role(const RunEnv& env);

}  // namespace r1
