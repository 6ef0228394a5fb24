// What the page of a dashboard is told: the graph once, and a picture of the run every second. The page's script reads these
// names (page_script.cpp); they are no interface for others, /metrics is.
// Thread rule: pure functions.
#pragma once

#include <string>

#include "runtime/graph/graph.h"
#include "tools/dashboard/run_picture.h"

namespace r1::dashboard {

std::string graph_json(const GraphView& graph);
std::string state_json(const RunPicture& picture);

}  // namespace r1::dashboard
