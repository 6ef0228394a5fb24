#include "actors/node_roles.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "actors/roles.h"
#include "actors/run_inputs.h"
#include "actors/scored_writer.h"
#include "base/json.h"
#include "runtime/nodes/file_cache.h"

namespace r1 {

namespace fs = std::filesystem;

namespace {

class Files {
 public:
  Files(const RunEnv& env, const GraphView& graph) : env_(env), graph_(graph) {}

  void add(const fs::path& path) {
    const fs::path absolute = fs::absolute(path).lexically_normal();
    if (found_.count(absolute.string()) != 0) return;
    const FileFingerprint print = env_.once->fingerprint(absolute);
    found_[absolute.string()] = {absolute.string(), print.bytes, print.hex()};
  }
  void add(const std::vector<InputFile>& files) {
    for (const InputFile& file : files) add(file.path);
  }
  // What tells the tokenizer, the templates and the shape of a node's model.
  void add_words(const NodePlan& node) { add(model_files(env_, model_root(graph_, node), false)); }
  // All of what a node starts from, or scores with.
  void add_weights(const NodePlan& origin) {
    if (origin.artifact) return add(model_files(env_, origin, true));
    for (const auto& entry :
         fs::directory_iterator(checkpoint_dir(env_, graph_.stages[static_cast<size_t>(origin.stage)].name)))
      if (entry.is_regular_file()) add(entry.path());
  }
  std::vector<NodeFile> take() {
    std::vector<NodeFile> files;
    for (auto& [path, file] : found_) files.push_back(std::move(file));
    return files;
  }

 private:
  const RunEnv& env_;
  const GraphView& graph_;
  std::map<std::string, NodeFile> found_;
};

bool takes_weights(const GraphView& graph, const NodePlan& node) {
  for (const int e : node.in_edges)
    if (graph.edges[static_cast<size_t>(e)].carries == "weights") return true;
  return false;
}

}  // namespace

std::string stays_with_head(const GraphView& graph, const NodePlan& node) {
  if (node.artifact) return "it is no role";
  if (node.role == "generator") return "";
  if (node.role == "judge")
    return writes_scores(graph, node) ? "it writes its scores itself, and the run's disk is with the head" : "";
  return fmt::format("a {} stays with the head", node.role);
}

OpenRole open_role(const RunEnv& env, const GraphView& graph, const NodePlan& node, const fs::path& graph_file) {
  Files files(env, graph);
  files.add(graph_file);
  files.add_words(node);
  if (node.role == "generator" && !takes_weights(graph, node)) files.add_weights(model_origin(graph, node));
  if (node.role == "judge") {
    files.add(reward_program_files(env, node));
    for (const int e : node.in_edges) {
      const EdgePlan& edge = graph.edges[static_cast<size_t>(e)];
      if (edge.carries != "model" || !edge.attrs.has("as")) continue;
      const NodePlan& origin = graph.nodes[static_cast<size_t>(edge.from)];
      files.add_weights(origin);
      files.add_words(origin);
    }
  }
  const auto absolute = [](const fs::path& path) { return fs::absolute(path).lexically_normal().string(); };
  OpenRole open;
  open.files = files.take();
  open.settings = nlohmann::json{{"graph", absolute(graph_file)},
                                 {"graph_dir", absolute(env.graph_dir)},
                                 {"run_dir", absolute(env.run_dir)},
                                 {"precision", dtype_name(env.precision)},
                                 {"source_kinds", source_kinds(env, graph)}}
                      .dump();
  return open;
}

std::shared_ptr<const NodeGraph> node_graph(const OpenRole& open, const fs::path& tree, std::shared_ptr<ReadOnce> once,
                                            std::shared_ptr<const EngineFactory> engines) {
  std::map<std::string, std::string> kinds;
  std::string graph_file, graph_dir, run_dir, precision;
  with_json_errors({"settings of a role"}, "head and node are of different builds", [&] {
    const nlohmann::json settings = parse_json(open.settings, {"settings of a role"});
    graph_file = settings.at("graph");
    graph_dir = settings.at("graph_dir");
    run_dir = settings.at("run_dir");
    precision = settings.at("precision");
    kinds = settings.at("source_kinds").get<std::map<std::string, std::string>>();
  });
  const auto here = [&](const std::string& path) { return FileCache::in_tree(tree, path); };
  fs::create_directories(here(graph_dir));
  fs::create_directories(here(run_dir));
  auto made = std::make_shared<NodeGraph>();
  made->graph = load_graph(here(graph_file), recorded_role_registry(here(graph_dir), kinds), {});
  RunEnv env = make_run_env(made->graph, here(run_dir), here(graph_dir), std::move(once));
  env.root = tree;
  env.precision = precision == dtype_name(DType::bf16) ? DType::bf16 : DType::f32;
  if (engines) env.engines = std::move(engines);
  made->factory = role_factory(env);
  return made;
}

}  // namespace r1
