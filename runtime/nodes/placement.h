// Which nodes of a run do the work of which role: all that may, unless the graph says otherwise. A role says so by its own
// attributes - host= and tags= (of the host file), replicas= - and says nothing about what it computes. Not who is there: a
// node that has died has its place all the same. Thread rule: pure functions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/graph/graph.h"
#include "runtime/nodes/fleet.h"

namespace r1 {

// By index of the graph's node: names of entries, in the order of the host file.
using Placement = std::map<int, std::vector<std::string>>;

// `nodes`: of the graph, those that run at nodes of the run. Throws bad_input at the attribute where none fits, or fewer than
// `replicas`.
Placement place_roles(const GraphView& graph, const std::vector<int>& nodes, const std::vector<FleetEntry>& entries);

// Of a run without nodes: refuses what a role says about them. host=head is so there.
void refuse_places(const GraphView& graph);

// "policy: 2 of node1, node2, node3", a line each.
std::string placement_text(const GraphView& graph, const Placement& placement);

}  // namespace r1
