// The judge: scores groups of completions with rules and reward models, combined by an arithmetic expression.
#pragma once

#include "actors/run_env.h"
#include "runtime/flow/role.h"

namespace r1 {

std::unique_ptr<Role> make_judge_role(const RunEnv& env);

}  // namespace r1
