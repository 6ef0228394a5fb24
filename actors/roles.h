// All roles: what a graph may say about them (the registry), and how they are made. One line a role in each.
#pragma once

#include <filesystem>

#include "actors/evaluation.h"
#include "actors/run_env.h"
#include "runtime/flow/role.h"
#include "runtime/graph/graph.h"

namespace r1 {

// `graph_dir`: where relative paths in the graph start; the registry's checks look at files.
RoleRegistry role_registry(const std::filesystem::path& graph_dir);
RoleFactory role_factory(const RunEnv& env);

EvaluationSpec evaluation_spec(const RunEnv& env, const NodePlan& evaluator);

}  // namespace r1
