// The attributes by which a role says where its work is done: on which device, and on which nodes of a run
// (runtime/nodes/placement.h). They change no result but by what a device rounds otherwise, which the fingerprint says.
// Thread rule: pure.
#pragma once

#include <vector>

#include "actors/role_kind.h"

namespace r1::spec {

AttrSpec on();                         // actors/devices.h
std::vector<AttrSpec> placed();        // host, tags, replicas
std::vector<AttrSpec> ranks_placed();  // of a trainer, for its ranks: host, tags

}  // namespace r1::spec
