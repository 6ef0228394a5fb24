#include "actors/placed_attrs.h"

namespace r1::spec {

AttrSpec on() {
  return changeable(
      text("on", "", "the device that it computes on: cpu, gpu:0, gpu:0-3 (one of them) or auto; default: graph.device"));
}

std::vector<AttrSpec> placed() {
  return {changeable(text("host", "", "with --hostfile: nodes of this host, or node1, ...; head: none; default: all")),
          changeable(text("tags", "", "with --hostfile: nodes that have all of these tags")),
          changeable(integer("replicas", "0", 0, 1024,
                             "with --hostfile: how many nodes do its work at a time; 0: all that fit, of a reference one"))};
}

std::vector<AttrSpec> ranks_placed() {
  return {changeable(text(
              "host", "",
              "with --hostfile: nodes of this host, or node1, ..., have its ranks but the first; head: none; default: all")),
          changeable(text("tags", "", "with --hostfile: nodes that have all of these tags have its ranks but the first"))};
}

}  // namespace r1::spec
