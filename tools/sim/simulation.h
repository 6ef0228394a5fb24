// A whole run - every stage of a graph, its restarts, its process dying at any moment and being started again - in one thread
// and virtual time, with the real conductor, roles, messages, run store and files, and with engines that only pretend to
// compute (models/fake). What happens is a pure function of the seed. Thread rule: one simulation at a time in a process, and
// no other use of the log or of fsync beside it (tools/sim/power_cut.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "tools/sim/scenario.h"

namespace r1 {

struct SimulationOptions {
  std::filesystem::path dir;                           // made, used and removed; best where memory is the disk
  std::function<void(const std::string& line)> trace;  // the schedule; may be absent
};

struct SimulationResult {
  std::string violation;                      // the promise that was broken; "": none
  std::map<std::string, std::string> hashes;  // of what every stage left: weights, datasets
  int64_t steps = 0, processes = 0, kills = 0, power_cuts = 0, interrupts = 0, links = 0, engines = 0, restarts = 0,
          batches = 0, nodes = 0;  // of faults: what happened to nodes
  double seconds = 0;              // virtual
  uint64_t schedule = 0;           // a hash of everything that happened, in order
};

SimulationResult simulate(const Scenario& scenario, const SimulationOptions& options);

// simulate(), then what only two runs can show: with staleness 0 the weights are those of the undisturbed run (`known` keeps
// them by Scenario::graph_key()).
SimulationResult simulate_and_compare(const Scenario& scenario, const SimulationOptions& options,
                                      std::map<std::string, std::map<std::string, std::string>>& known);

}  // namespace r1
