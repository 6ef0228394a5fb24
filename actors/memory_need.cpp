#include "actors/memory_need.h"

#include <fmt/format.h>

#include <algorithm>

#include "actors/graph_checks.h"
#include "base/memory.h"
#include "models/generation/kv_cache.h"
#include "models/training/packing.h"
#include "models/training/trainer_config.h"

namespace r1 {
namespace {

bool receives(const GraphView& graph, const NodePlan& node, const std::string& carries) {
  return std::any_of(node.in_edges.begin(), node.in_edges.end(),
                     [&](int e) { return graph.edges[static_cast<size_t>(e)].carries == carries; });
}

double kv_cache_bytes(const ModelConfig& c, const NodePlan& node, DType precision, int64_t layers) {
  const int64_t longest = std::min(c.max_positions, kPlannedPrompt + node.attrs.integer("max_tokens"));
  const int64_t blocks = (longest + kKeyBlock - 1) / kKeyBlock + 1;
  return static_cast<double>((node.attrs.integer("max_running") + 8) * blocks) * kv_page_bytes(c, precision, layers);
}

// Keys and values of a token.
int64_t key_features(const ModelConfig& c) { return c.kv_heads * (c.qk_head_dim() + c.v_head_dim()); }

// What a tape keeps of a token: of a layer six rows of the residual stream, queries, keys and values, what attention gives, and
// three rows of the feed-forward part. 1.05 MB at Qwen2.5-0.5B and 4.8 MB at 7B in bf16, as counted from tapes. With
// `recompute` a row of the residual stream a layer, and of one layer the rest.
double activation_bytes(const ModelConfig& c, DType precision, bool recompute) {
  int64_t all = 0, largest = 0;
  for (int64_t l = 0; l < c.layers; ++l) {
    const int64_t ffn = c.is_moe_layer(l) ? (c.moe.per_token + c.moe.shared) * c.moe.ffn : c.ffn;
    const int64_t kept = 6 * c.hidden + c.heads * (c.qk_head_dim() + c.v_head_dim()) + key_features(c) + 3 * ffn;
    all += kept;
    largest = std::max(largest, kept);
  }
  return static_cast<double>(dtype_size(precision)) * static_cast<double>(recompute ? c.layers * c.hidden + largest : all);
}

MemoryNeed of_trainer(const ModelConfig& c, const NodePlan& node, DType precision) {
  const double n = c.size().parameters;
  MemoryNeed need;
  need.weights = 2 * n * static_cast<double>(dtype_size(precision));
  need.masters = 4 * n;
  need.gradients = 4 * n;
  need.moments = (node.attrs.text("optimizer") == "muon" ? 4 : 8) * n;
  const auto ranks = static_cast<double>(node.attrs.integer("ranks"));
  need.weights += (ranks - 1) * n * static_cast<double>(dtype_size(precision));
  if (precision != DType::f32) need.masters += 4 * n * (ranks - 1) / ranks;  // in f32 they are the weights
  need.gradients *= ranks;
  const auto tokens = ranks * static_cast<double>(node.attrs.integer("micro_batch_tokens"));
  const double logits = std::min(static_cast<double>(kLogitElements), tokens * static_cast<double>(c.vocab_size));
  need.work = tokens * activation_bytes(c, precision, node.attrs.flag("recompute")) + 2 * 4 * logits;
  // Of one layer at a time attention has keys and values of every sequence, and their gradients.
  if (node.attrs.text("objective") == "grpo")
    need.work += kMostSeenRows * tokens * 2 * static_cast<double>(dtype_size(precision) * key_features(c));
  return need;
}

}  // namespace

MemoryNeed memory_need(const std::filesystem::path& graph_dir, const GraphView& graph, const NodePlan& node, DType precision) {
  const auto element = static_cast<double>(dtype_size(precision));
  MemoryNeed need;
  for (const int e : node.in_edges) {  // reward models, by name
    const EdgePlan& edge = graph.edges[static_cast<size_t>(e)];
    if (edge.carries != "model" || !edge.attrs.has("as")) continue;
    const NodePlan& origin = graph.nodes[static_cast<size_t>(edge.from)];
    const NodePlan& root = origin.artifact ? origin : model_root(graph, origin);
    need.weights += element * model_config(graph_dir, root).size().parameters;
  }
  if (node.role == "judge") return need;
  const ModelConfig c = model_config(graph_dir, model_root(graph, node));
  if (node.role == "trainer" || node.role == "distiller") return of_trainer(c, node, precision);
  const bool follows = receives(graph, node, "weights");
  need.weights += element * c.size().parameters * (follows && node.role != "evaluator" ? 2 : 1);
  if (node.role == "evaluator") need.masters = stage_trainer(graph, node.stage) != nullptr ? 4 * c.size().parameters : 0;
  const bool samples = node.role == "generator" || (node.role == "evaluator" && !c.scalar_head);
  if (samples) {
    const bool drafts = node.attrs.has("draft") && node.attrs.flag("draft");
    need.kv_cache = kv_cache_bytes(c, node, precision, c.layers + (drafts ? 1 : 0));
    need.work = static_cast<double>(node.attrs.integer("max_running")) * 4 * static_cast<double>(c.vocab_size);
  }
  return need;
}

std::string memory_text(const MemoryNeed& need) {
  std::string text;
  const auto add = [&](const char* before, double bytes) {
    if (bytes > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", before, bytes_text(bytes));
  };
  add("weights", need.weights);
  add("masters", need.masters);
  add("moments", need.moments);
  add("gradients", need.gradients);
  add("KV cache up to", need.kv_cache);
  add("work about", need.work);
  return text;
}

}  // namespace r1
