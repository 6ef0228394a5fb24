// What a graph asks for, multiplied out and compared with what there is - before anything is taken (docs/limits.md).
// Thread rule: pure functions of the graph and the machine.
#pragma once

#include "models/model_config.h"
#include "runtime/graph/graph.h"

namespace r1 {

// Bytes that the weights of a model take when it samples or scores (bf16; the least of all precisions), with its rotary table.
double model_bytes(const ModelConfig&);
// ... and when it is trained: masters, gradients and two moments in f32.
double training_bytes(const ModelConfig&);

// Each throws bad_input with both numbers: what certainly does not fit the machine's memory.
void check_model_fits(const NodePlan& model, const ModelConfig&);
void check_training_fits(const NodePlan& trainer, const ModelConfig&);

// What a batch of full length takes at least, at the moment when most of it is there (docs/limits.md): as messages, as rows of
// the run store, and, where it is trained on, as the engine takes it. Texts, and prompts, come on top.
struct BatchSize {
  double groups = 0, samples = 0, max_tokens = 0;  // samples of a group, sampled tokens of each
  bool trained = false, reference = false;         // on; with a reference's log-probabilities
  double bytes() const;
};

// groups x samples x max_tokens: no batch that does not fit the machine's memory, and no evaluation (problems x samples x
// max_tokens, of which texts are kept) of more than 1e12 tokens. Throws bad_input, before anything is sampled.
void check_batch_fits(const GraphView&, const NodePlan& generator_or_evaluator);

}  // namespace r1
