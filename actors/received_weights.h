// What a receiver makes of a published version: the values that the message's hash names, whichever way they came. Not how they
// are sent (actors/trainer_role.cpp) nor coded (models/version_delta.h).
// Thread rule: pure.
#pragma once

#include <cstdint>
#include <memory>

#include "actors/messages.h"

namespace r1 {

// The delta, applied to what the receiver holds, where it is full or begins at `held_version`; else the message's own weights,
// whose hash has to be the published one. `held` may be null: then held_version is -1. Throws failure on another hash, and for
// a delta to weights that are not held where the message came without its own.
std::shared_ptr<const WeightSet> received_weights(const WeightsMessage&, const WeightSet* held, int64_t held_version, Device&);

}  // namespace r1
