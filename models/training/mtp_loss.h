// Multi-token prediction (V3 2.2, depth 1; docs/recipe.md section 11): the loss of the token after the next, beside the main loss of
// pre-training. Thread rule: a Lane belongs to one thread at a time.
#pragma once

#include "models/training/objective.h"

namespace r1 {

// Tokens of a sequence that the module predicts: all but the first two.
int64_t mtp_tokens(const Sequence&);

// h: the main model's final rows of a whole pack (rows of `m`, every_token). Row i takes token i+1 and predicts token i+2 with
// LossPlan::mtp_weight as the weight of each token. With a tape the module's nodes are recorded and their gradients seeded.
// Adds to mtp_loss (with its weight), mtp_right, mtp_tokens.
void mtp_loss(Pass&, const Model&, const MicroBatch& m, const PackedInput& input, const LossPlan&, const Value& h,
              LossTotals& totals);

}  // namespace r1
