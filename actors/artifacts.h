// The artifacts that a graph may name, which nobody plays: a model, a dataset.
// Thread rule: pure functions but for reading headers of files.
#pragma once

#include <filesystem>

#include "actors/role_kind.h"

namespace r1 {

RoleKind model_kind(const std::filesystem::path& graph_dir);
RoleKind dataset_kind(const std::filesystem::path& graph_dir);

}  // namespace r1
