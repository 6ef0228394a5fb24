#include "runtime/flow/wire.h"

#include <string_view>

#include "base/hash.h"
#include "runtime/flow/msgpack.h"

namespace r1 {
namespace {

constexpr uint8_t kWireFormat = 5;

uint64_t checksum(const Envelope& e, std::string_view payload_kind, std::string_view body,
                  const std::vector<std::string>& frames) {
  std::vector<Hash128> parts = {{static_cast<uint64_t>(e.kind), static_cast<uint64_t>(e.edge)},
                                {static_cast<uint64_t>(e.number), frames.size()},
                                {e.stage_ends ? 1u : 0u, 0},
                                hash_string(payload_kind),
                                hash_string(body)};
  for (const std::string& frame : frames) parts.push_back(hash_string(frame));
  return hash_list(parts).lo;
}

}  // namespace

Packet encode_envelope(const Envelope& envelope, const PayloadCodec& codec, const Payload* before) {
  Packet packet;
  std::string kind, body;
  if (envelope.payload) {
    packet = codec.encode(*envelope.payload, before);
    body = std::move(packet.header);
    kind = envelope.payload->kind();
  }
  msgpack::sbuffer out;
  msgpack::packer<msgpack::sbuffer> pack(out);
  pack.pack_array(7);
  pack.pack(kWireFormat);
  pack.pack(static_cast<uint8_t>(envelope.kind));
  pack.pack(envelope.edge);
  pack.pack(envelope.number);
  pack.pack(envelope.stage_ends);
  pack.pack(kind);
  pack.pack(checksum(envelope, kind, body, packet.frames));
  packet.header.reserve(out.size() + body.size());
  packet.header.assign(out.data(), out.size());
  packet.header += body;  // behind it: what msgpack counts has less than 4 GiB, and the texts of a batch may be more
  return packet;
}

Envelope decode_envelope(Packet packet, const PayloadCodec& codec, const Asked& asked) {
  std::string_view body;
  const Unpacked header(packet.header, body);
  Items items(header.root(), 7);
  if (items.next_as<uint8_t>() != kWireFormat) throw malformed_message("another version of the format");
  const auto kind = items.next_as<uint8_t>();
  if (kind > static_cast<uint8_t>(Envelope::Kind::stage_end)) throw malformed_message("an unknown kind of message");
  Envelope envelope;
  envelope.kind = static_cast<Envelope::Kind>(kind);
  envelope.edge = items.next_as<int>();
  envelope.number = items.next_as<int64_t>();
  envelope.stage_ends = items.next_as<bool>();
  const auto payload_kind = items.next_as<std::string>();
  if (items.next_as<uint64_t>() != checksum(envelope, payload_kind, body, packet.frames))
    throw malformed_message("it has another checksum");
  if (envelope.kind == Envelope::Kind::payload)
    envelope.payload = codec.decode(payload_kind, {std::string(body), std::move(packet.frames)}, asked);
  return envelope;
}

}  // namespace r1
