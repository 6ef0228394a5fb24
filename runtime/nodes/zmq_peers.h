// Nodes that dial each other over sockets: the links of runtime/net/zmq_links.h, with bounds that fit pieces of contents.
// Thread rule: as PeerNet.
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
std::unique_ptr<PeerNet> zmq_peers(ZmqPeersOptions options);

}  // namespace r1
