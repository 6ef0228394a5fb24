#include "actors/node_roles.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "actors/evaluator_plan.h"
#include "actors/far_ranks.h"
#include "actors/kept_reference.h"
#include "actors/messages.h"
#include "actors/roles.h"
#include "actors/run_inputs.h"
#include "actors/scored_writer.h"
#include "actors/training_plan.h"
#include "base/json.h"
#include "models/version_delta.h"
#include "runtime/nodes/file_cache.h"
#include "runtime/nodes/sole_role.h"
#include "tasks/source.h"
#include "tasks/spec.h"

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

// What an evaluator would ask the run store.
void add_known(const RunEnv& env, const GraphView& graph, const NodePlan& node, RunStore& store, OpenRole& open) {
  const std::string& name = graph.stages[static_cast<size_t>(node.stage)].name;
  const StoredStage stage(store, store.ensure_stage(name), name);
  for (const int e : node.in_edges) {
    const EdgePlan& edge = graph.edges[static_cast<size_t>(e)];
    const NodePlan& from = graph.nodes[static_cast<size_t>(edge.from)];
    if (edge.carries != "model" || from.artifact) continue;
    const std::string& of = graph.stages[static_cast<size_t>(from.stage)].name;
    if (const auto found = stage.artifact_of(of, "checkpoint")) open.artifacts[{of, "checkpoint"}] = *found;
  }
  for (const bool before : {true, false}) {
    const std::string key = evaluation_key(planned_evaluation(env, graph, node, before), stage, graph, node);
    for (const StageRow& row : store.stages())
      for (const EvaluationRow& measured : store.evaluations(row.id))
        if (measured.evaluation.ends_with(key)) open.evaluations[measured.evaluation] = measured.metrics_json;
  }
}

// A reference that other processes are, on the disk of the run.
class ReferenceKeeper final : public StateKeeper {
 public:
  ReferenceKeeper(const RunEnv& env, std::string stage) : kept_(env, std::move(stage)) {}
  PayloadPtr first(RoleContext& context) override {
    const auto found = kept_.load(context.recovered(), context.journal());
    if (!found) return nullptr;
    auto message = std::make_shared<WeightsMessage>();
    message->version = found->version;
    message->weights = found->weights;
    message->hash = published_hash(*found->weights, found->version);
    return message;
  }
  void keep(RoleContext& context, const PayloadPtr& state) override {
    const auto& message = dynamic_cast<const WeightsMessage&>(*state);
    kept_.keep(context.journal(), *message.weights, message.version);
  }

 private:
  KeptReference kept_;
};

bool takes_weights(const GraphView& graph, const NodePlan& node) {
  for (const int e : node.in_edges)
    if (graph.edges[static_cast<size_t>(e)].carries == "weights") return true;
  return false;
}

}  // namespace

std::string stays_with_head(const GraphView& graph, const NodePlan& node) {
  if (node.artifact) return "it is no role";
  if (node.attrs.has("host") && node.attrs.text("host") == "head") return "the graph says host=head";
  if (node.role == "generator" || node.role == "reference" || node.role == "evaluator") return "";
  if (node.role == "judge")
    return writes_scores(graph, node) ? "it writes its scores itself, and the run's disk is with the head" : "";
  return fmt::format("a {} stays with the head", node.role);
}

OpenRole open_role(const RunEnv& env, const GraphView& graph, const NodePlan& node, const fs::path& graph_file,
                   RunStore& store) {
  Files files(env, graph);
  files.add(graph_file);
  files.add_words(node);
  OpenRole open;
  if (node.role == "generator" && !takes_weights(graph, node)) files.add_weights(model_origin(graph, node));
  if (node.role == "reference") {
    files.add_weights(model_origin(graph, node));
    // Its mask is the policy's.
    if (const NodePlan* policy = stage_trainer(graph, node.stage)) files.add_words(*policy);
  }
  if (node.role == "evaluator") {
    const NodePlan* trainer = stage_trainer(graph, node.stage);
    files.add_weights(model_origin(graph, trainer != nullptr ? *trainer : node));
    for (const std::string& spec : split_sources(node.attrs.text("source")))
      if (const auto path = source_path(located_source(spec, env.graph_dir))) files.add(*path);
    add_known(env, graph, node, store, open);
  }
  if (node.role == "trainer" || node.role == "distiller") files.add_weights(model_origin(graph, node));
  if (node.role == "judge" || node.role == "evaluator") {
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
  open.files = files.take();
  open.settings = nlohmann::json{{"graph", absolute(graph_file)},
                                 {"graph_dir", absolute(env.graph_dir)},
                                 {"run_dir", absolute(env.run_dir)},
                                 {"precision", dtype_name(env.precision)},
                                 {"source_kinds", source_kinds(env, graph)}}
                      .dump();
  return open;
}

RoleFactory pooled_roles(const RunEnv& env, RunStore& store, const fs::path& graph_file, PoolWorld world, RoleFactory inner) {
  world.opens = [&env, &store, graph_file](const GraphView& graph, const NodePlan& node) {
    return open_role(env, graph, node, graph_file, store);
  };
  world.keeper = [&env](const GraphView& graph, const NodePlan& node) -> std::unique_ptr<StateKeeper> {
    if (node.role != "reference") return nullptr;
    return std::make_unique<ReferenceKeeper>(env, graph.stages[static_cast<size_t>(node.stage)].name);
  };
  // A batch after the other is scored by one reference as fast as by several.
  world.replicas = [](const GraphView&, const NodePlan& node) {
    const int64_t given = node.attrs.has("replicas") ? node.attrs.integer("replicas") : 0;
    return given == 0 && node.role == "reference" ? 1 : given;
  };
  return [world, inner = std::move(inner)](const GraphView& graph, const NodePlan& node) -> std::unique_ptr<Role> {
    if (!stays_with_head(graph, node).empty()) return inner(graph, node);
    if (node.role == "evaluator") return std::make_unique<SoleRole>(world);
    return std::make_unique<PoolRole>(world);
  };
}

std::shared_ptr<const NodeGraph> node_graph(const OpenRole& open, const fs::path& tree, std::shared_ptr<ReadOnce> once,
                                            std::shared_ptr<const EngineFactory> engines, const std::string& device,
                                            MakeRankRing ring) {
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
  RunEnv env = make_run_env(made->graph, here(run_dir), here(graph_dir), std::move(once), device);
  env.root = tree;
  env.precision = precision == dtype_name(DType::bf16) ? DType::bf16 : DType::f32;
  if (engines) env.engines = std::move(engines);
  made->factory = role_factory(env);
  made->rank = [env, &graph = made->graph, ring = std::move(ring)](const NodePlan& node, MessageChannel& head) {
    if (!ring) throw failure("this node has no ranks");
    const RunEnv own = env_of(env, node);
    serve_rank(
        *own.engines, node.id, head, [&] { return trainer_start_weights(own, graph, node); }, ring);
  };
  return made;
}

}  // namespace r1
