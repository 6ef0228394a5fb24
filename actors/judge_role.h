// The judge: scores groups of completions with rules and reward models, combined by an arithmetic expression.
#pragma once

#include "actors/role_kind.h"

namespace r1 {

RoleKind judge_kind(const std::filesystem::path& graph_dir);

}  // namespace r1
