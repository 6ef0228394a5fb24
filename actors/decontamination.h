// What the evaluations of a graph ask, kept apart from what its stages learn from: the attribute `decontaminate` of prompters
// and data sets (docs/data.md). How texts are compared: tasks/contamination.h. Thread rule: pure functions but for reading the
// files of evaluators.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/run_env.h"
#include "tasks/contamination.h"

namespace r1 {

// Of every evaluator's prompts and pairs, files whole, of what is made the first `problems`; not of a split=train, which is
// asked because it is learned from. Null where nothing is evaluated. Records that cannot be read are left out: --check names
// them.
std::shared_ptr<const EvaluationGrams> evaluation_grams(const RunEnv&, const GraphView&);

// For SourceUse, at decontaminate=drop of `node` (a prompter or a data set) whose source reads files; empty otherwise.
std::function<bool(const std::vector<std::string>&)> contaminated_texts(const RunEnv&, const GraphView&, const NodePlan& node);

// Throws bad_input where decontaminate=drop has nothing to keep apart from or nothing to look at (what is made), and where a
// training source reads of a file what an evaluator holds out of it.
void check_held_out(const RunEnv&, const GraphView&);

}  // namespace r1
