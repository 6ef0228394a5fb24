#include "runtime/nodes/state_packet.h"

#include <utility>

#include "runtime/flow/wire.h"

namespace r1 {

StatePacket code_state(const Envelope& state, const PayloadCodec& codec, const Payload* before, int node,
                       ContentServer& contents, size_t fetched_bytes) {
  Packet coded = encode_envelope(state, codec, before);
  ContentPayload fetched{coded.header, "", {}, before == nullptr ? state.payload->describe() + ", whole" : ""};
  size_t bytes = 0;
  for (const std::string& frame : coded.frames) {
    fetched.frames.push_back(frame.size());
    bytes += frame.size();
  }
  if (bytes <= fetched_bytes) return {payload_packet(state, std::move(coded), node, 0), nullptr};
  StatePacket packet;
  packet.offer = contents.offer(std::move(coded));
  fetched.hash = packet.offer->content().hash;
  packet.packet = link_word(PacketKind::content, encode(fetched));
  packet.packet.node = node;
  packet.packet.edge = state.edge;
  packet.packet.number = static_cast<uint64_t>(state.number);
  return packet;
}

}  // namespace r1
