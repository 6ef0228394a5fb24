// The tokenizers of a run's stages, each read once: of the stage's model, or of one of the run's checkpoints where the graph's
// files are gone. Thread rule: one thread.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "actors/run_env.h"

namespace r1::report {

class StageTokenizers {
 public:
  // The graph outlives it. `graph_dir`: where relative paths in the graph start.
  StageTokenizers(const GraphView& graph, const std::filesystem::path& run_dir, const std::filesystem::path& graph_dir);
  // Of the stage's trainer, or of its generator where it trains nothing; null where none can be read.
  std::shared_ptr<const Tokenizer> of(int stage);

 private:
  std::shared_ptr<const Tokenizer> load(int stage, const NodePlan& node) const;

  const GraphView& graph_;
  RunEnv env_;
  std::map<std::string, std::shared_ptr<const Tokenizer>> by_root_;
};

}  // namespace r1::report
