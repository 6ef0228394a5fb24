// Ranks of a collective that are in other processes. Each has a relay where the others meet, with a mirror of its array, which
// takes part in its place as one of the ranks there (thread_ranks): so all is done, and refused, as if the ranks were threads,
// and bits do not depend on where a rank lives. What carries their messages is not known here.
//
// Of an operation the rank sends what others need of its array, and is sent what changes there: of a reduce_scatter of n
// elements all n and its own range, of an all_gather its own range and all others. Nothing goes from rank to rank but through
// the relays, whose process so carries the traffic of all (docs/decisions.md).
//
// In messages of at most 1 MiB, of which 64 are under way. A message of the collective begins with one of the letters c (call),
// d (data), a (more data may come), r (refused), l (has left); others on the channel are nobody's here.
// Thread rule: as Collective; a relay belongs to one thread at a time.
#pragma once

#include <memory>

#include "base/message_channel.h"
#include "kernels/collective.h"

namespace r1 {

// The rank itself. The channel outlives it.
std::unique_ptr<Collective> relayed_rank(MessageChannel& channel, int64_t rank, int64_t ranks);

class RankRelay {
 public:
  // `here`: the rank's place among the others. `most_elements`: of an array.
  RankRelay(Device& device, std::unique_ptr<Collective> here, int64_t most_elements);

  // What the rank said: if it is a word of the collective, does it, which takes as long as the operation, and answers; false:
  // it is none. Throws failure for what no rank says, and what the operation throws, which the rank is told too.
  bool relay(const ChannelMessage& message, MessageChannel& channel);
  static bool leaves(const ChannelMessage& message);  // it is the rank's last word
  // The others fail in what they do together.
  void leave() { here_ = nullptr; }

 private:
  std::unique_ptr<Collective> here_;  // null: it has left
  int64_t rank_, ranks_, most_elements_;
  Context ctx_;
};

}  // namespace r1
