// How nodes of a run come to each other: sockets in r1-node (zmq_peers.h), memory in simulations. Whoever listens lets in the
// keys that its head told it and no other; whoever dials talks to nobody but who holds the key that its head told it.
// Thread rule: one thread; sinks are called as runtime/net/link.h says.
#pragma once

#include <memory>
#include <string>

#include "runtime/net/keys.h"
#include "runtime/net/link.h"

namespace r1 {

class PeerNet {
 public:
  virtual ~PeerNet() = default;
  struct Door {
    std::unique_ptr<Links> links;
    std::string address;    // by which others reach it, as LinkAddress::text()
    std::string here = {};  // where it listens on this machine, where that may be another one
  };
  // `let_in` and `sink` outlive it; keys may be added. Throws failure when it cannot listen.
  virtual Door listen(const CurveKeys& keys, const KeyRing& let_in, LinkSink& sink) = 0;
  // One link, once. Throws failure for what is no address. The sink outlives it.
  virtual std::unique_ptr<Links> dial(const std::string& address, const std::string& door_key, const CurveKeys& keys,
                                      LinkSink& sink) = 0;
};

}  // namespace r1
