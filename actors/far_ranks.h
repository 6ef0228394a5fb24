// A trainer's ranks in other processes: what the head does for one of them, and what that one does there. Over a channel
// (base/message_channel.h), whatever carries it:
//
//   head -> rank   begin (rank, configuration), then orders, one at a time   (actors/rank_words.h)
//   rank -> head   "Ready", then "Done" after each order
//   both           the words of a collective, while an order is obeyed       (kernels/relayed_ranks.h)
//
// The rank has the weights that the trainer starts from as files; all that changed since it gets by the order to load a state.
// An error there is thrown, and ends the channel with it. Thread rule: as ServedRank; serve_rank: the calling thread, until it
// ends.
#pragma once

#include <functional>
#include <memory>

#include "base/message_channel.h"
#include "models/training/ranked_learner.h"

namespace r1 {

// A channel that whoever waits for the other end can be called away from.
class RankChannel : public MessageChannel {
 public:
  virtual void give_up() = 0;  // any thread: receive() throws from now on
};

// In the head. `together`: the rank's place among the others.
std::unique_ptr<ServedRank> far_rank(Device&, const TrainerConfig&, const WeightSet& start,
                                     std::unique_ptr<Collective> together, std::unique_ptr<RankChannel> channel);

// In the other process, for as long as the channel is there: throws what ends it. `start`: makes the weights to begin with.
[[noreturn]] void serve_rank(Device&, MessageChannel&, const std::function<std::shared_ptr<WeightSet>()>& start);

}  // namespace r1
