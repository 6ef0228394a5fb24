// The reference: adds the log-probabilities of a frozen model to batches, for the KL term. It starts from what the trainer
// starts from and is refreshed along a carries=weights edge every `every` versions: batch b is scored by version floor(b /
// every) * every.
#pragma once

#include "actors/role_kind.h"

namespace r1 {

RoleKind reference_kind(const std::filesystem::path& graph_dir);

}  // namespace r1
