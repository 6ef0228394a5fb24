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

// Tokens of one batch (groups x samples x max_tokens; evaluators: problems x samples x max_tokens): no more than can be counted
// and kept.
void check_batch_tokens(const GraphView&, const NodePlan& generator_or_evaluator);

}  // namespace r1
