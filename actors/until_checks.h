// Whether a stage's `until` can come true: sources that last, and metrics that some prompt has. Each throws bad_input at the
// attribute, or says why nothing comes of it. Not what `until` says (runtime/until.h), nor which metrics a stage has
// (actors/metric_table.h). Thread rule: pure functions but for reading headers of files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "actors/graph_checks.h"
#include "runtime/graph/graph.h"

namespace r1 {

// A finite source that is read once cannot give more batches than it has; a schedule would not even have moved. Of what is made
// or has count=; and of files, after their records have been looked at. `left_out`: records that a node does without.
void check_made_sources_last(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan& trainer);
void check_sources_last(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan& trainer,
                        const std::map<std::string, int64_t>& left_out);

// A condition of `until` on a part that no prompt with these facts has would never be true.
void check_until_facts(const GraphView& graph, const NodePlan& trainer, const FactValues& facts);

// A call of `until` that can never come true, or is true whatever is learned: beyond what its metric can be, beyond the batches
// or the epochs that the stage has, a plateau of what falls.
void check_until_calls(const GraphView& graph, const NodePlan& trainer);

// Intervals (`every`) of the stage's evaluators and reference that its last batch comes before: where they are said, and what
// does not happen. Not refused: a run is often cut short to try it.
std::vector<std::pair<Where, std::string>> intervals_that_never_come(const GraphView& graph, const NodePlan& trainer);

}  // namespace r1
