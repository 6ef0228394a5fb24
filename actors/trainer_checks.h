// What a graph has to say around a trainer or distiller, checked before a run starts (P10) and before its shell changes one.
// Thread rule: pure functions but for reading headers of files.
#pragma once

#include <filesystem>

#include "runtime/graph/graph.h"

namespace r1 {

// Throws bad_input at the node or attribute.
void check_trainer(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan& trainer);

}  // namespace r1
