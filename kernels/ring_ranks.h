// Ranks of a collective in a ring: each hears the one before it and speaks to the one behind it, over channels of which it does
// not know what carries them. No rank, and nothing else, carries the traffic of all: of n elements of a reduce_scatter or an
// all_gather (N-1)/N leave each of N ranks, and as many come.
//
//   reduce_scatter   what goes to rank s begins at s+1 and is added to by s+2, ..., s: N-1 steps, in blocks of 16 pieces
//   all_gather       every range goes around, N-1 steps
//   broadcast        from the root on to the one before it, which tells the root so
//
// In pieces of at most 1 MiB, of which 16 are under way; a rank sends its piece of a step before it takes one in, so that no
// two wait for each other. Scratch memory: 16 MiB.
//
// Messages to the next rank: c (call, as text: every rank says with each operation what it calls, and its next compares), d
// (data), e (a broadcast has gone around); to the one before: t (one d was taken in); both ways: f (it failed, and why, or has
// left). What fails at one rank is passed on both ways, so all fail for the same reason. Sizes are those of a rank's own call:
// nothing is allocated by what a neighbour says.
// Thread rule: as Collective.
#pragma once

#include <memory>
#include <string>

#include "base/message_channel.h"
#include "kernels/collective.h"

namespace r1 {

// Who they are, for who looks at waits and errors; "": "rank 2".
struct RingNames {
  std::string own, previous, next;
};
// The channels to the neighbours; with two ranks both are to the other one.
std::unique_ptr<Collective> ring_rank(std::unique_ptr<MessageChannel> previous, std::unique_ptr<MessageChannel> next,
                                      int64_t rank, int64_t ranks, RingNames names = {});

}  // namespace r1
