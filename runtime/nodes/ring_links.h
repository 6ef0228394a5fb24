// A rank's ring by links between processes (runtime/net/zmq_links.h): one that it listens for, one that it dials, each with the
// keys, the encryption, the beats and the lease of any other. A neighbour that is lost, or stands still, ends the channel to it
// by an error that names both ends; so does one that says anything of another ring, or more than is agreed.
//
// What waits here of a neighbour's words is bounded: 24 MiB and 256 messages each way (the ring has 16 pieces of 1 MiB under
// way). Thread rule: as RankRing.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "runtime/net/zmq_links.h"
#include "runtime/nodes/rank_ring.h"

namespace r1 {

struct RingLinksOptions {
  std::string listen = "127.0.0.1";  // an address of this machine
  PeerHello self;                    // of this process
  // Of a node: by which it reaches the head, where the first rank is: that one is dialled there, whatever it calls itself.
  std::optional<LinkAddress> head;
  LinkConfig link;
};
// Listens, where the invitation says that it does. Throws failure when it cannot.
std::unique_ptr<RankRing> ring_links(const RingInvitation& told, RingLinksOptions options);

}  // namespace r1
