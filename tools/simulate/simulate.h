// r1-run --simulate: how fast the stages of a graph would be on machines that are not here. Runs
// nothing, writes nothing. What it is made of: stage_simulation.h, costs.h; what it says: docs/scaling.md.
// Thread rule: pure functions but for reading files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "runtime/graph/graph.h"
#include "tools/simulate/stage_simulation.h"

namespace r1::simulate {

// "hosts=4,gpus=8,trainer=8,batches=64"; gpus=0: this machine, engines on shared cores.
struct Setting {
  int64_t hosts = 1, gpus = 0;  // gpus: of each host
  int64_t trainer = 0;          // devices of the first host that train; 0: all of it, or half of it where there is no other
  bool halved = false;          // trainer is that half: where nobody samples, all of it train
  int64_t batches = 0;          // 0: as many as the graph allows; of what samples at most 64
};
Setting parse_setting(const std::string& text);  // throws bad_input

// The numbers of a stage of the graph, and who does what in it. Throws bad_input where host=, tags= or replicas= leave none.
StageShape shape_of(const GraphView& graph, int stage, const Setting& setting);
Machines machines_of(const GraphView& graph, int stage, const Setting& setting);

struct SimulatedStage {
  std::string name;
  StageShape shape;
  Machines machines;
  StageResult result;
};
// Of every stage that samples, trains or measures. `costs`: a file, or the directory
// of a run. Throws bad_input; also for a graph without such a stage.
std::vector<SimulatedStage> simulate_graph(const GraphView& graph, const Setting& setting, const std::filesystem::path& costs);

std::string simulation_table(const std::vector<SimulatedStage>& stages);
std::string simulation_json(const std::vector<SimulatedStage>& stages);

}  // namespace r1::simulate
