// The filter: puts scored groups back into draw order, decides which teach, and forms batches for the trainer - or, in front of
// a dataset, keeps the best completions (rejection sampling) and writes them as JSON lines. Every draw ends here: kept, or
// dropped with its reason.
#pragma once

#include "actors/run_env.h"
#include "runtime/flow/role.h"

namespace r1 {

std::unique_ptr<Role> make_filter_role(const RunEnv& env);

}  // namespace r1
