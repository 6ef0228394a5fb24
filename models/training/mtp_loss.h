// Multi-token prediction (V3 2.2, depth 1; docs/recipe.md section 11): the loss of the token after the next, beside the main
// loss of pre-training. Thread rule: a Lane belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "models/training/objective.h"

namespace r1 {

// Tokens of a sequence that the module predicts: all but the first two.
int64_t mtp_tokens(const Sequence&);

// Per row the token after the next, and its weight: 0 behind the last token.
struct MtpTargets {
  std::vector<int32_t> targets;
  std::vector<float> weights;
};
MtpTargets mtp_targets(const MicroBatch& m, const LossPlan&);

// On the device, of T rows.
struct MtpRows {
  View next;              // [T] i32 the token that each row takes
  View targets, weights;  // [T] i32, [T] f32: MtpTargets
  View loss;              // [1] f32, added to: with the weights
  View best;              // [T] i32, written: the module's most likely token
};
// h: the main model's final rows of a whole pack (every_token). Row i takes token i+1 and predicts token i+2. With a tape the
// module's nodes are recorded and their gradients seeded.
void mtp_loss(Pass&, const Model&, const PackedInput& input, const LossPlan&, const Value& h, const MtpRows&);

}  // namespace r1
