#include "actors/run_env.h"

#include <fmt/format.h>

#include "actors/devices.h"
#include "actors/end_tokens.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/rng.h"
#include "kernels/plugin.h"
#include "models/model_files.h"
#include "tasks/tiny/tokenizer_json.h"

namespace r1 {

namespace fs = std::filesystem;

DType resolve_precision(const std::string& attribute, const Device& device) {
  if (attribute == "f32") return DType::f32;
  if (attribute == "bf16") return DType::bf16;
  return device.has_fast_bf16() ? DType::bf16 : DType::f32;
}

static Device& first_device(const GraphView& graph) {
  const Where where = graph.attrs.where("device");
  const DeviceWish wish = parse_device_wish(graph.attrs.text("device"), where);
  if (wish.names.empty()) return open_device(plugin_devices().count > 0 ? "gpu:0" : "cpu");
  try {
    return open_device(wish.names[0]);
  } catch (const Error& e) {
    throw Error(e.code(), e.message(), where, e.hint());
  }
}

RunEnv make_run_env(const GraphView& graph, const fs::path& run_dir, const fs::path& graph_dir, std::shared_ptr<ReadOnce> once,
                    const std::string& device) {
  RunEnv env;
  env.once = std::move(once);
  env.run_dir = run_dir;
  env.graph_dir = graph_dir;
  env.seed = static_cast<uint64_t>(graph.attrs.integer("seed"));
  env.device = device.empty() ? &first_device(graph) : &open_device(device);
  env.engines = device_engines(*env.device);
  env.precision = resolve_precision(graph.attrs.text("precision"), *env.device);
  return env;
}

RunEnv env_of(const RunEnv& env, const NodePlan& node) {
  RunEnv own = env;
  if (const auto at = env.elsewhere.find(node.id); at != env.elsewhere.end()) {
    own.device = at->second.device;
    own.engines = at->second.engines;
  }
  return own;
}

const NodePlan* stage_trainer(const GraphView& graph, int stage) {
  if (stage < 0) return nullptr;
  for (int n : graph.stages[stage].nodes)
    if (graph.nodes[n].role == "trainer" || graph.nodes[n].role == "distiller") return &graph.nodes[n];
  return nullptr;
}

const NodePlan* stage_node(const GraphView& graph, int stage, const std::string& role) {
  if (stage < 0) return nullptr;
  for (int n : graph.stages[stage].nodes)
    if (graph.nodes[n].role == role) return &graph.nodes[n];
  return nullptr;
}

std::vector<std::string> reward_model_names(const GraphView& graph, const NodePlan& judge) {
  std::vector<std::string> names;
  for (int e : judge.in_edges)
    if (graph.edges[e].carries == "model" && graph.edges[e].attrs.has("as")) names.push_back(graph.edges[e].attrs.text("as"));
  return names;
}

const NodePlan& model_origin(const GraphView& graph, const NodePlan& node) {
  for (int e : node.in_edges) {
    const EdgePlan& edge = graph.edges[e];
    if (edge.carries == "model" && !edge.attrs.has("as")) return graph.nodes[edge.from];
  }
  const NodePlan* trainer = stage_trainer(graph, node.stage);
  if (trainer != nullptr && trainer != &node) return model_origin(graph, *trainer);
  // Roles that have no model of their own (prompter, judge) speak the language of the stage's generator.
  const NodePlan* generator = stage_node(graph, node.stage, "generator");
  if (generator != nullptr && generator != &node && trainer == nullptr) return model_origin(graph, *generator);
  throw bad_input(fmt::format("{} '{}' has no model to start from", node.role, node.id), node.where,
                  "add an edge from a node [kind=model, ...] or from the trainer of an earlier stage");
}

const NodePlan& model_root(const GraphView& graph, const NodePlan& node) {
  constexpr int kMostTrainings = 1000;  // every node walks this way, several times
  const NodePlan* at = &node;
  for (int trained = 0; !at->artifact; ++trained) {
    if (trained >= kMostTrainings)
      throw bad_input(
          fmt::format("the model of '{}' is trained by more than {} stages, one after the other", node.id, kMostTrainings),
          node.where, "go on from its checkpoint in a graph of its own");
    at = &model_origin(graph, *at);
  }
  return *at;
}

Where attr_place(const NodePlan& node, const std::string& attr) {
  return node.attrs.given.count(attr) != 0 ? node.attrs.where(attr) : node.where;
}

int64_t stage_staleness(const GraphView& graph, int stage) {
  const NodePlan* trainer = stage_trainer(graph, stage);
  if (trainer == nullptr) return 0;
  for (int e : trainer->out_edges) {
    const EdgePlan& edge = graph.edges[e];
    if (edge.carries == "weights" && graph.nodes[edge.to].role == "generator") return edge.attrs.integer("staleness");
  }
  return 0;
}

int64_t stage_window(const GraphView& graph, int stage) {
  for (int n : graph.stages[stage].nodes) {
    const NodePlan& node = graph.nodes[n];
    if (node.role != "prompter") continue;
    for (int e : node.out_edges)
      if (graph.edges[e].carries == "prompts") return node.attrs.integer("groups_per_batch");
  }
  return 0;
}

int64_t max_draws_of(const NodePlan& filter, int64_t window) {
  const int64_t given = filter.attrs.integer("max_draws");
  return given > 0 ? given : 4 * window;
}

bool draws_in_windows(const GraphView& graph, int stage) {
  const NodePlan* filter = stage_node(graph, stage, "filter");
  return filter == nullptr || (filter->attrs.text("order") == "draw" && filter->attrs.text("fill") == "shrink");
}

fs::path resolve_path(const RunEnv& env, const std::string& path) {
  const fs::path p(path);
  if (p.is_absolute()) return env.root.empty() ? p : env.root / p.relative_path();
  return env.graph_dir / p;
}
fs::path checkpoint_dir(const RunEnv& env, const std::string& stage) { return env.run_dir / "checkpoints" / stage; }
fs::path dataset_file(const RunEnv& env, const std::string& stage) { return env.run_dir / "datasets" / (stage + ".jsonl"); }

void DataStamps::check(const Source& source) {
  const std::lock_guard lock(mutex_);
  for (const auto& [file, stamp] : source.stamps()) {
    const auto [known, fresh] = known_.emplace(file.string(), stamp);
    if (!fresh && known->second != stamp)
      throw failure("the file has been changed while it is in use", {file.string()},
                    "put it back as it was; data of a run stay as they are until it is done");
  }
}

std::unique_ptr<Source> open_data(const RunEnv& env, const std::string& spec, uint64_t seed, const SourceUse& use) {
  auto source = open_source(spec, seed, use);
  env.stamps->check(*source);
  for (const auto& [file, stamp] : source->stamps()) env.once->check_kept(file);
  return source;
}

std::shared_ptr<const Tokenizer> node_tokenizer(const RunEnv& env, const GraphView& graph, const NodePlan& node) {
  const NodePlan& root = model_root(graph, node);
  const std::string spec = root.attrs.text("tokenizer");
  if (spec == "tiny")
    return env.once->tokenizer(spec, [] { return Tokenizer::from_json(tiny_tokenizer_json(), "the tiny world's tokenizer"); });
  const bool own = spec.empty();
  const fs::path from = resolve_path(env, own ? root.attrs.text("path") : spec);
  const bool of_model = own || gguf_of(from);
  const fs::path file = of_model ? fs::path(model_text_place(from, "tokenizer.json").file) : from;
  return env.once->tokenizer(file, [&] { return of_model ? model_tokenizer(from) : Tokenizer::from_file(from); });
}

ModelConfig origin_config(const RunEnv& env, const NodePlan& origin) {
  if (!origin.artifact) throw failure("the configuration of a model that is still to be trained was asked for", origin.where);
  const bool path = origin.attrs.has("path");
  const fs::path place = resolve_path(env, origin.attrs.text(path ? "path" : "config"));
  env.once->check_kept(place);
  return path ? read_model_config(place) : read_model_config_file(place);
}

ModelConfig start_config(const RunEnv& env, const GraphView& graph, const NodePlan& node) {
  const NodePlan& origin = model_origin(graph, node);
  return origin.artifact ? origin_config(env, origin) : read_model_config(checkpoint_dir(env, graph.stages[origin.stage].name));
}

std::shared_ptr<WeightSet> load_origin_weights(const RunEnv& env, const NodePlan& origin, const GraphView& graph, DType dtype) {
  if (!origin.artifact || origin.attrs.has("path")) {
    const fs::path path =
        origin.artifact ? resolve_path(env, origin.attrs.text("path")) : checkpoint_dir(env, graph.stages[origin.stage].name);
    env.once->check_kept(path);
    auto weights = load_weights(*env.device, path, dtype);
    env.once->check_kept(path);  // nor while it was read
    return weights;
  }
  auto weights = std::make_shared<WeightSet>(*env.device, origin_config(env, origin), DType::f32);
  initialize(*weights, rng_key(env.seed, "init", hash_string(origin.id).lo));
  return dtype == DType::f32 ? weights : std::make_shared<WeightSet>(convert_weights(*weights, weights->config(), dtype));
}

std::shared_ptr<WeightSet> load_start_weights(const RunEnv& env, const GraphView& graph, const NodePlan& node, DType dtype) {
  auto weights = load_origin_weights(env, model_origin(graph, node), graph, dtype);
  const auto tokenizer = node_tokenizer(env, graph, node);
  weights->add_end_tokens(stage_end_tokens(env, graph, node, *tokenizer));
  // A reference scores what the policy samples: its mask is the policy's.
  const NodePlan* policy = node.role == "reference" ? stage_trainer(graph, node.stage) : nullptr;
  weights->set_token_ids(policy != nullptr ? node_tokenizer(env, graph, *policy)->vocab_size() : tokenizer->vocab_size());
  return weights;
}

}  // namespace r1
