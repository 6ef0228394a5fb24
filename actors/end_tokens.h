// Which tokens end a completion of a stage: what the model's files say (config.json, generation_config.json,
// tokenizer_config.json) and the end tokens of the chat templates that the stage's sources use - what a model is taught to end
// with is what it must be stopped by. The union goes with the weights, so that generators, evaluators and the checkpoint agree.
// Thread rule: pure functions but for the files they read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "actors/run_env.h"

namespace r1 {

// The end tokens that the stage of `node` adds to those of its model's configuration, each once, ascending; of the model alone
// for a node outside stages. Throws bad_input for a tokenizer_config.json that names a token the tokenizer does not have.
std::vector<int32_t> stage_end_tokens(const RunEnv&, const GraphView&, const NodePlan& node, const Tokenizer& tokenizer);

// What --check says: a line for every stage in which a model writes, with the tokens that end its completions, and warnings:
// stages in which nothing does, and examples without a chat template, or with one that writes no end token, which teach no end.
struct EndTokenReport {
  std::vector<std::string> lines, warnings;
};
// For graphs that were loaded. A stage whose model is trained by an earlier one is described by that model's root.
EndTokenReport report_end_tokens(const RunEnv&, const GraphView&);

}  // namespace r1
