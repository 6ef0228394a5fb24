// Processes of a run that dial each other over sockets: the links of runtime/net/zmq_links.h, with the bounds of what they are
// for. Nodes that fetch contents have them, and the ranks of trainers (runtime/nodes/ring_links.h).
// Thread rule: as PeerNet, but that any thread may listen and dial.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/net/zmq_links.h"
#include "runtime/nodes/peer_net.h"

namespace r1 {

struct ZmqPeersOptions {
  // An address of this machine, where it listens on two ports in a row that are free; asked when it is to.
  std::function<std::string()> listen = [] { return "127.0.0.1"; };
  std::string address;  // by which others reach it; "": the same
  PortRange ports;      // that it may listen on
  PeerHello self;       // of this process
  LinkConfig link;
};
// What LinkConfig has for a link to the head, of which peers need less.
struct PeerBounds {
  int64_t dial_ns = 0;  // the other one listens already
  size_t backlog_bytes = 0, packet_bytes = 0;
};
std::unique_ptr<PeerNet> zmq_peers(ZmqPeersOptions options, const PeerBounds& bounds);
std::unique_ptr<PeerNet> zmq_peers(ZmqPeersOptions options);  // bounds that fit pieces of contents

}  // namespace r1
