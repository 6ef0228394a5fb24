// Messages as bytes, for where they leave the process: a msgpack header and raw frames (docs/formats.md, "Messages"). Knows
// envelopes; what a payload holds is known to a PayloadCodec (actors/wire.h). Not how bytes travel.
// Thread rule: pure functions.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime/flow/envelope.h"

namespace r1 {

struct Packet {
  std::string header;               // msgpack; of an envelope, behind it the payload's
  std::vector<std::string> frames;  // raw: tokens, sequences, weights
};

// Finds the question that has a number (Payload::number()); null: there is none.
using Asked = std::function<PayloadPtr(int64_t number)>;

// Thread rule: const and thread-safe.
class PayloadCodec {
 public:
  virtual ~PayloadCodec() = default;
  // `before`: what went the same way last and so is held at the other end, null for nothing: a version of the weights is coded
  // as the difference to it where it is one, and whole otherwise. Or the question that the payload answers, which the other end
  // kept: what the answer shares with it (the very object) is left out.
  virtual Packet encode(const Payload& payload, const Payload* before) const = 0;
  // `kind`: Payload::kind() of what was encoded. Throws failure for bytes that are not such a payload; takes no more memory
  // than a small multiple of theirs. `asked`: of answers that were coded against their questions; may be empty.
  virtual PayloadPtr decode(const std::string& kind, Packet packet, const Asked& asked) const = 0;
};

// `before` as in PayloadCodec::encode.
Packet encode_envelope(const Envelope& envelope, const PayloadCodec& codec, const Payload* before);
// Throws failure for malformed bytes and for what is not what was encoded (a checksum stands in the header).
Envelope decode_envelope(Packet packet, const PayloadCodec& codec, const Asked& asked = {});

}  // namespace r1
