#include "actors/model_checks.h"

#include <fmt/format.h>

#include <algorithm>

#include "actors/graph_checks.h"
#include "actors/run_env.h"
#include "tasks/spec.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;

bool learns_scores(const NodePlan& trainer) { return trainer.attrs.text("objective") == "reward_model"; }

ModelConfig config_of(const fs::path& graph_dir, const NodePlan& artifact) {
  RunEnv env;
  env.graph_dir = graph_dir;
  return origin_config(env, artifact);
}

bool is_reward_model(const fs::path& graph_dir, const NodePlan& origin) {
  return origin.artifact ? config_of(graph_dir, origin).scalar_head : learns_scores(origin);
}

// What the trainer's stage samples is scored by the reference: it has to take every token and every length.
void check_reference_follows(const fs::path& graph_dir, const GraphView& graph, const NodePlan& reference) {
  const NodePlan* trainer = stage_trainer(graph, reference.stage);
  if (trainer == nullptr) return;
  const NodePlan &own = model_root(graph, reference), &policy = model_root(graph, *trainer);
  if (&own == &policy) return;
  const ModelConfig a = config_of(graph_dir, own), b = config_of(graph_dir, policy);
  const auto refuse = [&](const char* what, int64_t has, int64_t needs) {
    if (has < needs)
      throw bad_input(fmt::format("reference '{}' is a model of {} {}, its policy has {}", reference.id, has, what, needs),
                      reference.where, "a reference takes whatever the policy samples");
  };
  // What is sampled has no more ids than the tokenizer: models of one family are padded to different widths.
  RunEnv env;
  env.graph_dir = graph_dir;
  refuse("token ids", a.vocab_size, std::min<int64_t>(b.vocab_size, node_tokenizer(env, graph, *trainer)->vocab_size()));
  refuse("positions", a.max_positions, b.max_positions);
  for (const int e : reference.in_edges)
    if (graph.edges[e].carries == "weights" && graph.edges[e].attrs.integer("every") > 0)
      throw bad_input(fmt::format("reference '{}' has a model of its own, and cannot become the policy", reference.id),
                      graph.edges[e].where, "remove the edge that carries weights, or the one that carries the model");
}

}  // namespace

void check_model_use(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  const NodePlan* trainer = stage_trainer(graph, node.stage);
  const bool trains = trainer == &node, evaluates = node.role == "evaluator";
  if (trains && learns_scores(node)) return;
  // What an evaluator measures and a generator samples from are the stage's weights, if the stage has any.
  const bool of_stage = trainer != nullptr && !trains && node.role != "reference";
  const NodePlan& from = of_stage ? *trainer : model_origin(graph, node);
  const bool scores = is_reward_model(graph_dir, from);
  if (!evaluates && scores)
    throw bad_input(
        fmt::format("'{}' is a reward model: it gives scores, and {} '{}' needs tokens", from.id, node.role, node.id),
        node.where, "start from the model that it was trained from");
  if (node.role == "reference") check_reference_follows(graph_dir, graph, node);
  if (!evaluates) return;
  for (const std::string& s : split_sources(node.attrs.text("source"))) {
    if ((checked_source_kind(graph_dir, node, s) == RecordKind::pair) == scores) continue;
    throw bad_input(scores ? fmt::format("'{}' is a reward model and answers no prompts, '{}' gives some", from.id, s)
                           : fmt::format("'{}' is no reward model and scores no pairs, '{}' gives some", from.id, s),
                    node.attrs.where("source"),
                    scores ? "a source of pairs, for example tiny:harmless_pairs_test" : "a source of prompts");
  }
}

}  // namespace r1
