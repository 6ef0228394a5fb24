#include "tools/report/stage_tokenizers.h"

#include "base/error.h"

namespace r1::report {

StageTokenizers::StageTokenizers(const GraphView& graph, const std::filesystem::path& run_dir,
                                 const std::filesystem::path& graph_dir)
    : graph_(graph) {
  env_.run_dir = run_dir;
  env_.graph_dir = graph_dir;
}

std::shared_ptr<const Tokenizer> StageTokenizers::of(int stage) {
  const NodePlan* node = stage_trainer(graph_, stage);
  if (node == nullptr) node = stage_node(graph_, stage, "generator");
  if (node == nullptr) return nullptr;
  auto& known = by_root_[model_root(graph_, *node).id];
  if (known == nullptr) known = load(stage, *node);
  return known;
}

std::shared_ptr<const Tokenizer> StageTokenizers::load(int stage, const NodePlan& node) const {
  try {
    return node_tokenizer(env_, graph_, node);
  } catch (const Error&) {
  }
  try {
    const std::string& name = graph_.stages[static_cast<size_t>(stage)].name;
    return std::make_shared<const Tokenizer>(Tokenizer::from_file(checkpoint_dir(env_, name) / "tokenizer.json"));
  } catch (const Error&) {
    return nullptr;
  }
}

}  // namespace r1::report
