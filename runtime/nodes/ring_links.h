// A rank's ring by links between processes (runtime/nodes/link_ring.h, runtime/nodes/zmq_peers.h), each with the keys, the
// encryption, the beats and the lease of any other. Thread rule: as RankRing.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "runtime/nodes/link_ring.h"
#include "runtime/nodes/zmq_peers.h"

namespace r1 {

struct RingLinksOptions : ZmqPeersOptions {
  // Of a node: by which it reaches the head, where the first rank is: that one is dialled there, whatever it calls itself.
  std::optional<LinkAddress> head;
};
// Listens, where the invitation says that it does. Throws failure when it cannot.
std::unique_ptr<RankRing> ring_links(const RingInvitation& told, const RingLinksOptions& options);

}  // namespace r1
