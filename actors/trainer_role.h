// The trainer (and the distiller): commits each batch to the run store, then learns from it, then publishes the new version.
//
// Order of one version: commit (durable) -> optimizer steps -> publish -> perhaps a snapshot. A restarted trainer loads the
// last snapshot, replays the committed batches after it, and ends where it would have been, bit for bit.
#pragma once

#include "actors/role_kind.h"

namespace r1 {

RoleKind trainer_kind(const std::filesystem::path& graph_dir);
RoleKind distiller_kind(const std::filesystem::path& graph_dir);

}  // namespace r1
