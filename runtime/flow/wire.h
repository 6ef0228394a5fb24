// Messages as bytes, for where they leave the process: a msgpack header and raw frames (docs/formats.md, "Messages"). Knows
// envelopes; what a payload holds is known to a PayloadCodec (actors/wire.h). Not how bytes travel.
// Thread rule: pure functions.
#pragma once

#include <string>
#include <vector>

#include "runtime/flow/envelope.h"

namespace r1 {

struct Packet {
  std::string header;               // msgpack
  std::vector<std::string> frames;  // raw: tokens, sequences, weights
};

// Thread rule: const and thread-safe.
class PayloadCodec {
 public:
  virtual ~PayloadCodec() = default;
  // `before`: what went the same way last and so is held at the other end, null for nothing: a version of the weights is coded
  // as the difference to it where it is one, and whole otherwise.
  virtual Packet encode(const Payload& payload, const Payload* before) const = 0;
  // `kind`: Payload::kind() of what was encoded. Throws failure for bytes that are not such a payload; takes no more memory
  // than a small multiple of theirs.
  virtual PayloadPtr decode(const std::string& kind, const Packet& packet) const = 0;
};

// `before` as in PayloadCodec::encode.
Packet encode_envelope(const Envelope& envelope, const PayloadCodec& codec, const Payload* before);
// Throws failure for malformed bytes and for what is not what was encoded (a checksum stands in the header).
Envelope decode_envelope(const Packet& packet, const PayloadCodec& codec);

}  // namespace r1
