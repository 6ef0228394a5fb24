// A trainer's ranks in other processes: what the head does for them, and what one does there. Over a channel to the head
// (base/message_channel.h), whatever carries it:
//
//   head -> rank   begin (its place in the ring, the configuration), the address of the rank before it, then orders, one at a
//                  time   (actors/rank_words.h)
//   rank -> head   "Place" (where it listens), "Ready", then "Done" after each order; meanwhile "Waits" (for whom, if for long)
//
// What ranks say to each other while an order is obeyed goes around a ring (runtime/nodes/rank_ring.h, kernels/ring_ranks.h),
// of which the first rank, with the head, is a part as any other.
//
// A rank has the weights that the trainer starts from as files; all that changed since it gets by the order to load a state.
// An error there is thrown, and ends the channel with it. Thread rule: as Learner; serve_rank: the calling thread, until it
// ends.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/message_channel.h"
#include "models/training/ranked_learner.h"
#include "runtime/nodes/rank_ring.h"

namespace r1 {

// A channel that whoever waits for the other end can be called away from.
class RankChannel : public MessageChannel {
 public:
  virtual void give_up() = 0;  // any thread: receive() throws from now on
};

struct FarRank {
  std::string name;  // "rank 2 of rl_trainer at node2/4711"
  std::unique_ptr<RankChannel> channel;
};
// In the head. `attempt`: no other ring of the run has it. `far`: ranks 1, 2, ...; waits until they have begun.
// `node`: whose ranks they are, as EngineFactory has it.
std::unique_ptr<Learner> far_ranked_learner(const EngineFactory&, const std::string& node, const TrainerConfig&,
                                            const WeightSet& start, uint64_t attempt, const std::string& first_name,
                                            std::vector<FarRank> far, const MakeRankRing&);

// In the other process, for as long as the channel is there: throws what ends it. `start`: makes the weights to begin with.
[[noreturn]] void serve_rank(const EngineFactory&, const std::string& node, MessageChannel&,
                             const std::function<std::shared_ptr<WeightSet>()>& start, const MakeRankRing&);

}  // namespace r1
