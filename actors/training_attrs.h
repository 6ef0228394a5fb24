// What a graph may say about a trainer, and what that means for its engine and for the layout of its batches: one table each
// (actors/config_table.h), with the objectives that an attribute is for.
// docs/grpo.md says which of them make which published variant.
// Thread rule: pure functions but for reading headers of files.
#pragma once

#include <filesystem>
#include <vector>

#include "actors/batch_layout.h"
#include "actors/config_table.h"
#include "actors/run_env.h"
#include "models/training/trainer_config.h"
#include "runtime/graph/graph.h"

namespace r1 {

std::vector<AttrSpec> training_attrs();
std::vector<AttrSpec> distilling_attrs();

// The tables, for tests.
const ConfigTable<TrainerConfig>& update_table();
const ConfigTable<LayoutRules>& layout_table();

// `batches`: how many the stage will have (for the learning rate's schedule); 0 when only `until` knows.
TrainerConfig trainer_config(const RunEnv&, const GraphView&, const NodePlan& trainer, int64_t batches);

LayoutRules layout_rules(const NodePlan& trainer);

// Combinations without a meaning, and what the model cannot do: bad_input at the attribute.
void check_training_attrs(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan& trainer);

}  // namespace r1
