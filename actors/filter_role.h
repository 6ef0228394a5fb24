// The filter: puts scored groups back into draw order, decides which teach, and forms batches for the trainer - or, in front of
// a dataset, keeps the best completions (rejection sampling) and writes them as JSON lines. Every draw ends here: kept, or
// dropped with its reason.
#pragma once

#include "actors/role_kind.h"

namespace r1 {

RoleKind filter_kind(const std::filesystem::path& graph_dir);

}  // namespace r1
