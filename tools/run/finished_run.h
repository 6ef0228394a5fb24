// A run that is complete: shown as it is, not run again.
#pragma once

#include <filesystem>
#include <vector>

#include "runtime/graph/graph.h"
#include "runtime/store/run_store.h"
#include "tools/run/arguments.h"

namespace r1 {

bool all_stages_done(const GraphView& graph, const RunStore& store);

// The summary of the run in `run_dir`, as a table or as JSON, and what of its files is gone.
void show_finished_run(const std::filesystem::path& run_dir, bool json);

// Shows the run that the arguments name where it is complete, and this very graph's, whether or not the files that it read are
// still there; false where it is not. Throws bad_input where files that it wrote were changed.
bool shows_finished_run(const RunArguments& args, const std::filesystem::path& graph_dir,
                        const std::vector<Override>& overrides);

}  // namespace r1
