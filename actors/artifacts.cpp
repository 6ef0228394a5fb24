#include "actors/artifacts.h"

#include <fmt/format.h>

#include "actors/graph_checks.h"
#include "actors/size_checks.h"
#include "models/model_files.h"
#include "tasks/chat_template.h"
#include "tasks/source.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;

void check_template_name(const NodePlan& node) {
  const std::string name = node.attrs.text("template");
  placed(node, "template", [&] { return name == "auto" ? nullptr : ChatTemplate::named(name); });
}

void check_model(const fs::path& graph_dir, const std::shared_ptr<ReadOnce>& once, const NodePlan& node) {
  RunEnv env;
  env.once = once;
  env.graph_dir = graph_dir;
  check_template_name(node);
  const bool path = node.attrs.has("path"), config = node.attrs.has("config");
  if (path == config)
    throw bad_input(fmt::format("model '{}' {}", node.id, path ? "has both path and config" : "has neither path nor config"),
                    node.where, "path=\"DIR\" for trained weights, config=\"FILE\" for random ones");
  if (config && !node.attrs.has("tokenizer"))
    throw bad_input(fmt::format("model '{}' has no tokenizer", node.id), node.where, "tokenizer=\"tiny\" or a tokenizer.json");
  const ModelConfig c = placed(node, path ? "path" : "config", [&] {
    if (path) check_model_dir(resolve_path(env, node.attrs.text("path")));
    return origin_config(env, node);
  });
  check_model_fits(node, c);
  const auto tokenizer = placed(node, "tokenizer", [&] {
    GraphView alone;  // the tokenizer of an artifact depends on nothing else
    return node_tokenizer(env, alone, node);
  });
  check_tokenizer_fits(*tokenizer, c, fmt::format("the tokenizer of '{}'", node.id), node.where);
}

void check_dataset(const fs::path& graph_dir, const NodePlan& node) {
  check_template_name(node);
  RunEnv env;
  env.graph_dir = graph_dir;
  placed(node, "path", [&] { return source_kind("jsonl:" + resolve_path(env, node.attrs.text("path")).string()); });
}

}  // namespace

RoleKind model_kind(const fs::path& graph_dir, const std::shared_ptr<ReadOnce>& once) {
  using namespace spec;
  RoleKind r;
  r.spec.name = "model";
  r.spec.doc = "a model: a Hugging Face directory, a GGUF file, or random weights for a config.json";
  r.spec.attrs = {
      text("path", "", "a Hugging Face model directory, or a GGUF file"),
      text("config", "", "a config.json to start from random weights"),
      text("tokenizer", "", "a tokenizer.json, or tiny; default: the one of path"),
      text("template", "auto", "its chat template: auto (its files' own), none, or a built-in one (llama3, chatml, ...)")};
  r.spec.ports = {gives_finished("model")};
  r.spec.ports[0].inside = true;
  r.spec.check = [graph_dir, once](const GraphView&, const NodePlan& node) { check_model(graph_dir, once, node); };
  return r;
}

RoleKind dataset_kind(const fs::path& graph_dir) {
  using namespace spec;
  RoleKind r;
  r.spec.name = "dataset";
  r.spec.doc = "examples as JSON lines (docs/data.md)";
  r.spec.attrs = {required_text("path", "the file"),
                  text("template", "auto", "the chat template it is read with: auto (the model's), none, or a built-in one"),
                  decontaminate()};
  r.spec.ports = {gives_finished("dataset")};
  r.spec.ports[0].inside = true;
  r.spec.check = [graph_dir](const GraphView&, const NodePlan& node) { check_dataset(graph_dir, node); };
  return r;
}

}  // namespace r1
