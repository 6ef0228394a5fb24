// The messages of actors/messages.h as bytes and back: the one place where they become bytes (docs/formats.md, "Messages").
// What the run store keeps is coded by actors/codec.h. Thread rule: pure.
#pragma once

#include "runtime/flow/wire.h"

namespace r1 {

// Every payload that an edge inside a stage carries. A version of the weights arrives without the pointer to the sender's own
// weights (WeightsMessage::weights is null), as a delta against the version before it on the same edge or whole.
const PayloadCodec& message_codec();

}  // namespace r1
