#include "actors/checkpoint_files.h"

#include "actors/chat_texts.h"

namespace r1 {

namespace fs = std::filesystem;

ModelTexts checkpoint_texts(const RunEnv& env, const GraphView& graph, const NodePlan& node, const ModelConfig& config) {
  const NodePlan& root = model_root(graph, node);
  ModelTexts given = chat_texts(env, graph, node, config);
  const std::string place = root.attrs.has("path") ? resolve_path(env, root.attrs.text("path")).string() : root.id;
  given["tokenizer.json"] = node_tokenizer(env, graph, node)->json();
  ModelTexts texts = export_texts(given, config, place);
  if (const auto map = given.find("special_tokens_map.json"); map != given.end()) texts.insert(*map);
  return texts;
}

fs::path export_dir(const RunEnv& env, const std::string& stage) { return env.run_dir / "exports" / stage; }

void save_checkpoint(const RunEnv& env, const GraphView& graph, const NodePlan& node, const std::string& stage,
                     const WeightSet& masters) {
  const ModelTexts texts = checkpoint_texts(env, graph, node, masters.config());
  const TensorSource source = tensor_source(masters);
  const fs::path dir = checkpoint_dir(env, stage);
  write_model_dir(dir, masters.config(), source, texts, {});
  const auto type = file_type(node.attrs.text("save_dtype"));
  if (!type) return;
  const fs::path out = export_dir(env, stage);
  DirectoryOptions options;
  options.type = *type;
  write_model_dir(out, masters.config(), source, texts, options);
}

}  // namespace r1
