// The prompter: draws prompts, examples or pairs from a task source, tokenises them, and gives them on. Every draw of a prompt
// is a row of the ledger. What is drawn is a function of (source, seed, draw), so a restarted prompter issues the same draws
// again.
#pragma once

#include "actors/run_env.h"
#include "runtime/flow/role.h"

namespace r1 {

std::unique_ptr<Role> make_prompter_role(const RunEnv& env);

}  // namespace r1
