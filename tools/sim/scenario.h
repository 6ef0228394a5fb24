// What one seed stands for: a graph and its settings, how long things take, and which faults come when. A pure function of the
// seed. Thread rule: values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/nodes/pool_core.h"

namespace r1 {

// How a process of the run ends before its time. `interrupt`: as Ctrl-C does.
enum class DeathKind { kill, power, interrupt };
struct Death {
  DeathKind kind = DeathKind::kill;
  bool at_sync = false;  // counts syncs of the run directory (just before one), else steps of the world
  int64_t n = 0;         // from the beginning of its process
};

enum class LinkFaultKind { lost, twice, damaged };
struct LinkFault {
  LinkFaultKind kind = LinkFaultKind::lost;
  int64_t n = 0;  // the how many-th message of the whole simulation
};

// What happens to a node, or is asked of the head about one. `damage`, `lose`: of the next message on its link; `twice`: the
// next answer that it gives is heard twice; ring_...: to the links of its ranks of trainers, with their neighbours.
enum class NodeFaultKind {
  kill,
  stop,
  cut_to_head,
  cut_to_node,
  cut_both,
  reset,
  damage,
  lose,
  twice,
  drain,
  scale,
  ring_cut_to_next,
  ring_cut_to_previous,
  ring_reset,
  ring_damage,
  ring_lose
};
const char* node_fault_name(NodeFaultKind kind);
struct NodeFault {
  NodeFaultKind kind = NodeFaultKind::kill;
  int64_t n = 0;       // after the how many-th step of the world
  size_t slot = 0;     // which node
  double seconds = 0;  // of stops and cuts
};

struct Scenario {
  uint64_t seed = 0;
  std::string graph;                   // DOT
  std::vector<std::string> settings;   // as --set
  int64_t staleness = 0;               // of the generator's edge
  bool exact = false;                  // staleness 0: the final weights are those of a run without faults
  bool bytes = false;                  // messages go through bytes
  int64_t message_ns = 0, job_ns = 0;  // upper bounds: of a message's delay, of a job's time
  std::string slow_node;               // its jobs take ten times as long
  std::vector<Death> deaths;           // of the first process, of the second, ...
  std::vector<LinkFault> link_faults;
  std::vector<int64_t> engine_faults;  // the how many-th call of an engine throws
  int64_t nodes = 0;                   // processes beside the head; 0: the head does all itself
  int64_t ranks = 1;                   // of some trainers, all but the first at nodes
  bool by_hand = false;                // nodes outlive their head and come back to the next one
  std::vector<NodeFault> node_faults;  // in order
  PoolBroken broken;                   // what is broken on purpose
  bool broken_admission = false;       // generators at nodes admit a batch too many
  std::string graph_key() const;       // scenarios of equal key have the same undisturbed run
  std::string text() const;            // one line
  // The same without faults and delays.
  Scenario undisturbed() const;
};

Scenario scenario_of(uint64_t seed);
std::string simulated_model_config();  // config.json of the graph's model

}  // namespace r1
