#include "actors/placed_attrs.h"

namespace r1::spec {

std::vector<AttrSpec> placed() {
  return {changeable(text("host", "", "with --hostfile: nodes of this host, or node1, ...; default: all")),
          changeable(text("tags", "", "with --hostfile: nodes that have all of these tags")),
          changeable(integer("replicas", "0", 0, 1024, "with --hostfile: how many nodes do its work; 0: all that fit"))};
}

}  // namespace r1::spec
