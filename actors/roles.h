// All roles: what a graph may say about them (the registry), and how they are made. What of it is one role's stands in that
// role's file (actors/role_kind.h).
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "actors/run_env.h"
#include "runtime/flow/role.h"
#include "runtime/graph/graph.h"

namespace r1 {

// `graph_dir`: where relative paths in the graph start; the registry's checks look at files, by `once`.
RoleRegistry role_registry(const std::filesystem::path& graph_dir,
                           const std::shared_ptr<ReadOnce>& once = std::make_shared<ReadOnce>());
// For the graph of a run that began: nothing is checked again and no file is opened; `source_kinds` (run_inputs.h) says what
// each source gives.
RoleRegistry recorded_role_registry(const std::filesystem::path& graph_dir,
                                    const std::map<std::string, std::string>& source_kinds);
RoleFactory role_factory(const RunEnv& env);

}  // namespace r1
