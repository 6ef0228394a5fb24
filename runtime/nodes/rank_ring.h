// A ring of ranks (kernels/ring_ranks.h), as far as one rank of it knows: what its head told it, and how it comes to its
// neighbours. Which ranks there are and what they say to each other is not known here.
//
// The head makes a ring anew for every attempt of a stage: an id and a pair of keys for each rank, which it hands out over the
// links that it has. Every rank lets in the key of the next one and no other, and talks to nobody but who holds the key of the
// one before it; so a rank of an earlier attempt is a stranger, whatever it still says.
//
//   rank r listens for rank r+1, and then tells the head where; the head tells r+1, which dials
//
// Of two ranks the second dials the first, and one link carries both ways: so no node listens.
// Thread rule: RingInvitation: a value. RankRing: one thread, but for give_up, which any may call.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/message_channel.h"
#include "runtime/net/keys.h"

namespace r1 {

struct RingInvitation {
  uint64_t attempt = 0;  // no other ring of the run has it
  int64_t rank = 0, ranks = 2;
  CurveKeys keys;                      // its own
  std::string previous_key, next_key;  // of its neighbours, the public ones
  std::string name, previous, next;    // of all three, for errors: "rank 2 of rl_trainer at node2/4711"

  bool listens() const { return ranks > 2 || rank == 0; }
  bool dials() const { return ranks > 2 || rank == 1; }
};
// For rank 0, 1, ...: with new keys.
std::vector<RingInvitation> new_ring(uint64_t attempt, const std::vector<std::string>& names);

class RankRing {
 public:
  virtual ~RankRing() = default;
  // Where it listens for the next rank, as LinkAddress::text(); "": it does not.
  virtual std::string address() const = 0;
  // Begins to dial the rank before it, which listens there; "" where it dials none. Whether it comes to be heard of by the
  // channels.
  virtual void join(const std::string& previous) = 0;
  // Once each, at any time: what is sent before the neighbour is there waits for it.
  virtual std::unique_ptr<MessageChannel> to_previous() = 0;
  virtual std::unique_ptr<MessageChannel> to_next() = 0;
  // Who waits for a neighbour is thrown `why`.
  virtual void give_up(std::exception_ptr why) = 0;
};
using MakeRankRing = std::function<std::unique_ptr<RankRing>(const RingInvitation& told)>;

}  // namespace r1
