// A rank's ring by links between processes (runtime/nodes/link_ring.h, runtime/net/zmq_links.h), each with the keys, the
// encryption, the beats and the lease of any other. Thread rule: as RankRing.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "runtime/net/zmq_links.h"
#include "runtime/nodes/link_ring.h"

namespace r1 {

struct RingLinksOptions {
  std::string listen = "127.0.0.1";  // an address of this machine
  std::string address;               // by which the next rank reaches it; "": the same
  PortRange ports;                   // that it may listen on
  PeerHello self;                    // of this process
  // Of a node: by which it reaches the head, where the first rank is: that one is dialled there, whatever it calls itself.
  std::optional<LinkAddress> head;
  LinkConfig link;
};
// Listens, where the invitation says that it does. Throws failure when it cannot.
std::unique_ptr<RankRing> ring_links(const RingInvitation& told, RingLinksOptions options);

}  // namespace r1
