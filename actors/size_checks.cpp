#include "actors/size_checks.h"

#include <fmt/format.h>

#include "actors/codec.h"
#include "actors/messages.h"
#include "actors/run_env.h"
#include "base/memory.h"
#include "runtime/store/rows.h"

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

double BatchSize::bytes() const {
  // A member that is added to a sequence has to be counted, or this does not compile.
  const auto& [tokens, trainable, behaviour_logp, reference_logp, version, exact, advantage] = Sequence{};
  const auto each = [](const auto&... of) { return static_cast<double>((sizeof(of[0]) + ...)); };
  const double sequence = each(tokens, trainable, behaviour_logp, version, exact), logp = each(reference_logp);
  // TrainerRole::commit: the messages, and the rows to be committed, whose tokens and log-probabilities are not packed.
  double token = sequence + each(tokens, behaviour_logp);
  double sample = sizeof(Sequence) + sizeof(SampleScore) + sizeof(Completion) + sizeof(TrajectoryRow);
  if (trained) {  // BatchLayout: the engine's sequences, and the items that become the payload
    token += sequence;
    sample += sizeof(Sequence) + sizeof(BatchContent::Item);
  }
  // With the message, in the items, the payload and the engine's sequences.
  if (reference) token += trained ? 4 * logp : logp;
  return groups * samples * (sample + token * max_tokens);
}

void check_batch_fits(const GraphView& graph, const NodePlan& node) {
  const auto samples = static_cast<double>(node.attrs.integer("samples"));
  const auto longest = static_cast<double>(node.attrs.integer("max_tokens"));
  if (node.role == "evaluator") {
    constexpr double kMostTokens = 1e12;  // `problems` may be far more than its sources have, which is not known here
    const auto problems = static_cast<double>(node.attrs.integer("problems"));
    if (problems * samples * longest <= kMostTokens) return;
    throw bad_input(
        fmt::format("{} problems x {} samples x {} tokens are more than the {:.0e} tokens that a measurement may have",
                    problems, samples, longest, kMostTokens),
        attr_place(node, "samples"), "lower problems, samples or max_tokens");
  }
  const BatchSize batch{static_cast<double>(stage_window(graph, node.stage)), samples, longest,
                        stage_trainer(graph, node.stage) != nullptr, stage_node(graph, node.stage, "reference") != nullptr};
  const auto limit = static_cast<double>(memory_limit());
  if (batch.bytes() <= limit) return;
  throw bad_input(fmt::format("a batch of {} groups x {} samples x {} tokens takes {} of memory; this machine has {}",
                              batch.groups, samples, longest, bytes_text(batch.bytes()), bytes_text(limit)),
                  attr_place(node, "samples"),
                  "fewer groups_per_batch or samples, a lower max_tokens, or a machine with more memory");
}

}  // namespace r1
