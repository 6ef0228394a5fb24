// The generator: turns prompts into groups of sampled completions, under the newest weights it was given.
//
// Admission (docs/architecture.md section 6): with the trainer at version v, staleness k and B draws a batch, draw d may start
// when d < (k + v + 1) B. So no token of a batch is older than k versions when the batch starts. Draws start in order.
#pragma once

#include "actors/config_table.h"
#include "actors/role_kind.h"
#include "models/generation/generation.h"

namespace r1 {

// What its attributes say of every request and of its engine.
const ConfigTable<GenRequest>& request_table();
const ConfigTable<GeneratorConfig>& generator_table();

RoleKind generator_kind(const std::filesystem::path& graph_dir);

}  // namespace r1
