// The evaluator: held-out metrics of a stage's first and last weights - pass@1 at a temperature and greedy, format, language,
// length, harmlessness, helpfulness, or the share of pairs a reward model orders rightly. With every=N versions on the way too:
// the trainer asks, and waits for what it is told (actors/steering.h).
//
// A result is a function of (weights, what is evaluated), so it is kept in the run store under that key: what one stage
// measured at its end, the next does not measure again at its beginning.
#pragma once

#include "actors/role_kind.h"

namespace r1 {

RoleKind evaluator_kind(const std::filesystem::path& graph_dir);

}  // namespace r1
