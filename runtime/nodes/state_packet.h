// A state - weights, as a rule - as it goes to the workers that are to have it: in the packet, or, where that would be large,
// as a content that they fetch, of the head or of each other (content_server.h): so one of any size fits the links, and the
// same bytes for many workers leave the head once. Not who is sent what (pool_role.h, sole_role.h).
// Thread rule: a value; code_state() in jobs.
#pragma once

#include <memory>

#include "runtime/nodes/content_server.h"
#include "runtime/nodes/node_words.h"
#include "runtime/nodes/pool_core.h"

namespace r1 {

struct StatePacket {
  LinkPacket packet;
  // Kept for each worker until it has taken the state in; null: there is nothing to fetch.
  std::shared_ptr<const ContentServer::Offer> offer;

  LinkPacket to(Incarnation incarnation) const {
    LinkPacket own = packet;
    own.incarnation = incarnation;
    return own;
  }
};
// `before` as in PayloadCodec::encode; of more than `fetched_bytes` it is a content.
StatePacket code_state(const Envelope& state, const PayloadCodec& codec, const Payload* before, int node,
                       ContentServer& contents, size_t fetched_bytes);

}  // namespace r1
