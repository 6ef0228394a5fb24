// What a trainer tells its ranks in other processes, as bytes: msgpack arrays (actors/far_ranks.h says who says what when).
// Decoding throws failure for bytes that are none. Thread rule: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "models/sequence.h"
#include "models/training/ranked_learner.h"
#include "models/training/trainer_config.h"
#include "runtime/nodes/rank_ring.h"

namespace r1 {

// Which rank of which ring it is, and with what it begins.
struct RankBegin {
  RingInvitation ring;
  TrainerConfig config;
};
std::string encode(const RankBegin& begin);
RankBegin decode_rank_begin(std::string_view bytes);

// A RankOrder that holds what it speaks of.
struct HeldOrder {
  RankOrder::Kind kind = RankOrder::Kind::train;
  TrainBatch batch;
  TrainerConfig config;
  RankOrder order() const { return {kind, &batch, &config}; }
};
std::string encode(const RankOrder& order);
HeldOrder decode_rank_order(std::string_view bytes);

}  // namespace r1
