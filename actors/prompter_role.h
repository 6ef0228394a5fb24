// The prompter: draws prompts, examples or pairs from a task source, tokenises them, and gives them on. Every draw of a prompt
// is a row of the ledger. What is drawn is a function of (source, seed, draw), so a restarted prompter issues the same draws
// again.
#pragma once

#include "actors/role_kind.h"

namespace r1 {

RoleKind prompter_kind(const std::filesystem::path& graph_dir);

}  // namespace r1
