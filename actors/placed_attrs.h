// The attributes by which a role says which nodes of a run do its work (runtime/nodes/placement.h). They change no result.
// Thread rule: pure.
#pragma once

#include <vector>

#include "actors/role_kind.h"

namespace r1::spec {

std::vector<AttrSpec> placed();  // host, tags, replicas

}  // namespace r1::spec
