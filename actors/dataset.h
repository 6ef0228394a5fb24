// Datasets that a stage leaves for later ones: JSON lines of {"prompt", "completion"}, written by filters, read by trainers.
// Thread rule: pure functions but for the file.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "actors/run_env.h"
#include "models/sequence.h"

namespace r1 {

std::string dataset_line(const std::string& prompt, const std::string& completion);
// One example after the other, tokenised. Throws failure naming file and line.
void read_dataset(const RunEnv&, const std::filesystem::path& file, const Tokenizer& tokenizer,
                  const std::function<void(const Sequence&)>& each);
// Where the dataset of an edge lies: the file of the stage it comes from, or the path of a node [kind=dataset].
std::filesystem::path dataset_path(const RunEnv&, const GraphView&, const EdgePlan& edge);

}  // namespace r1
