#include "actors/size_checks.h"

#include <fmt/format.h>

#include "actors/run_env.h"
#include "base/memory.h"

namespace r1 {

namespace {

double rotary_table_bytes(const ModelConfig& c) {
  return 4.0 * static_cast<double>(c.max_positions) * static_cast<double>(c.rotary_dim());
}

void refuse_beyond_memory(const NodePlan& node, double bytes, double parameters, const std::string& what) {
  const auto limit = static_cast<double>(memory_limit());
  if (bytes <= limit) return;
  throw bad_input(fmt::format("'{}' {} a model of {:.3g} parameters, which takes at least {}; this machine has {}", node.id,
                              what, parameters, bytes_text(bytes), bytes_text(limit)),
                  node.where, "a smaller config.json, or a machine with more memory");
}

}  // namespace

double model_bytes(const ModelConfig& c) { return 2 * c.size().parameters + rotary_table_bytes(c); }
double training_bytes(const ModelConfig& c) { return 16 * c.size().parameters + rotary_table_bytes(c); }

void check_model_fits(const NodePlan& model, const ModelConfig& c) {
  refuse_beyond_memory(model, model_bytes(c), c.size().parameters, "is");
}

void check_training_fits(const NodePlan& trainer, const ModelConfig& c) {
  const int64_t ranks = trainer.attrs.integer("ranks");
  // Every further rank has weights and gradients of its own.
  const double more = static_cast<double>(ranks - 1) * (2 + 4) * c.size().parameters;
  refuse_beyond_memory(trainer, training_bytes(c) + more, c.size().parameters,
                       ranks > 1 ? fmt::format("trains with {} ranks", ranks) : "trains");
}

void check_batch_tokens(const GraphView& graph, const NodePlan& node) {
  constexpr double kMostTokens = 1e12;  // 5 bytes of log-probability and id each are in memory until a batch is trained on
  const bool evaluator = node.role == "evaluator";
  const auto groups = static_cast<double>(evaluator ? node.attrs.integer("problems") : stage_window(graph, node.stage));
  const auto samples = static_cast<double>(node.attrs.integer("samples"));
  const auto longest = static_cast<double>(node.attrs.integer("max_tokens"));
  if (groups * samples * longest <= kMostTokens) return;
  throw bad_input(
      fmt::format("{} {} x {} samples x {} tokens are more than the {:.0e} tokens that a {} may have", groups,
                  evaluator ? "problems" : "groups", samples, longest, kMostTokens, evaluator ? "measurement" : "batch"),
      attr_place(node, "samples"), "lower samples, max_tokens or the number of prompts");
}

}  // namespace r1
