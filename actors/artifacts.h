// The artifacts that a graph may name, which nobody plays: a model, a dataset.
// Thread rule: pure functions but for reading headers of files.
#pragma once

#include <filesystem>
#include <memory>

#include "actors/read_once.h"
#include "actors/role_kind.h"

namespace r1 {

RoleKind model_kind(const std::filesystem::path& graph_dir, const std::shared_ptr<ReadOnce>& once);
RoleKind dataset_kind(const std::filesystem::path& graph_dir);

}  // namespace r1
