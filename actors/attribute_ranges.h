// From where to where each numeric attribute of a graph goes, inclusive. docs/limits.md says why each top is what it is; a test
// walks the registry: a numeric attribute without both bounds, or without its row in the docs, fails it.
// Thread rule: a pure function.
#pragma once

#include "runtime/graph/graph.h"

namespace r1 {

// An attribute of one name has one range, whichever role has it. Those that are not in the table keep what their spec says.
void give_ranges(RoleRegistry&);

}  // namespace r1
