// Links over ZeroMQ: CURVE (nobody reads or changes what passes), a list of the keys that are let in, two TCP connections a
// link. The head listens, nodes dial. Each end has one thread of its own, which alone touches its sockets. Loopback unless told
// otherwise. Only runtime/net/zmq_end.h and what includes it know ZeroMQ; docs/security.md says what holds against whom.
// Thread rule: that of runtime/net/link.h; constructors and destructors of an end: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/net/keys.h"
#include "runtime/net/link_address.h"
#include "runtime/net/link_protocol.h"

namespace r1 {

struct ZmqHeadOptions {
  LinkAddress listen;
  PortRange ports;  // where listen.port is 0: the first two of them that are free, in steps of two
  CurveKeys keys;   // the head's
  LinkConfig link;
  int64_t greeting_ns = 3'000'000'000;  // of a connection, until its key is known; then it is closed
};

class ZmqHead : public Links {
 public:
  virtual const LinkAddress& address() const = 0;
  // Of a peer that is up; null otherwise. What was known when it last beat.
  virtual std::optional<PeerTimes> times(PeerId peer) const = 0;
};
// Throws bad_input when it cannot listen there, and failure where none of its ports gets free. `ring` and `sink` outlive it.
std::unique_ptr<ZmqHead> zmq_listen(ZmqHeadOptions options, const KeyRing& ring, LinkTerms terms, LinkSink& sink);

struct ZmqNodeOptions {
  LinkAddress head;
  std::string head_key;  // the head's public one: nobody else can answer
  CurveKeys keys;        // this node's
  LinkConfig link;       // dial_ns: while nobody answers it dials again
};
// Dials; the sink hears of the rest. One link, once: when it is lost, whoever wants another dials anew.
std::unique_ptr<Links> zmq_dial(ZmqNodeOptions options, LinkTerms terms, LinkSink& sink);

}  // namespace r1
