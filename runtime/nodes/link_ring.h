// A rank's ring (runtime/nodes/rank_ring.h) over links, whoever makes them: one that it listens for, one that it dials. A
// neighbour that is lost, or stands still, ends the channel to it by an error that names both ends; so does one that says
// anything of another ring, or more than is agreed.
//
// What waits here of a neighbour's words is bounded: 24 MiB and 256 messages each way (the ring has 16 pieces of 1 MiB under
// way). Thread rule: as RankRing; links call on a thread of their own.
#pragma once

#include <memory>
#include <string>

#include "runtime/net/link.h"
#include "runtime/nodes/rank_ring.h"

namespace r1 {

// Makes a rank's links: sockets (runtime/nodes/ring_links.h), or memory in simulations. Sinks outlive what they are given to.
// Thread rule: any thread.
class RingDoors {
 public:
  virtual ~RingDoors() = default;
  // For the next rank, and nobody without its key. `address`: where that is.
  virtual std::unique_ptr<Links> listen(const RingInvitation& told, LinkSink& sink, std::string& address) const = 0;
  // What is dialled when the rank before it says that it listens at `previous`. Throws Error for what is no address.
  virtual std::string dialled(const RingInvitation& told, const std::string& previous) const = 0;
  virtual std::unique_ptr<Links> dial(const RingInvitation& told, const std::string& address, LinkSink& sink) const = 0;
};
// Listens, where the invitation says that it does. Throws failure when it cannot.
std::unique_ptr<RankRing> link_ring(const RingInvitation& told, std::shared_ptr<const RingDoors> doors);

}  // namespace r1
