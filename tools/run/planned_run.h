// A run as its command means it, before anything is written: what the graph says, which roles compute where, who may look in.
// Thread rule: main()'s thread.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "actors/data_check.h"
#include "actors/run_env.h"
#include "runtime/graph/graph.h"
#include "runtime/net/link_address.h"
#include "tools/dashboard/dashboard.h"
#include "tools/run/arguments.h"
#include "tools/run/run_nodes.h"

namespace r1 {

struct PlannedRun {
  const GraphView& graph;
  const RoleRegistry& registry;
  std::filesystem::path run_dir, graph_dir;
  RunEnv env;
  std::vector<std::string> tracker;  // its command; empty: none
  std::optional<dashboard::Address> dashboard;
  std::optional<LinkAddress> shell;
  NodesPlan nodes;      // of --hostfile and --slurm
  std::string devices;  // what each actor takes of which card, in lines; "" without cards
};

// Throws bad_input for what does not fit the machine, the host file, or the command. `graph` and `registry` outlive the plan.
PlannedRun plan_run(const RunArguments& args, const GraphView& graph, const RoleRegistry& registry,
                    const std::filesystem::path& graph_dir, const std::shared_ptr<ReadOnce>& once);

// Reads every source of the stages but `done`, and shows its warnings.
DataCheck read_data(const PlannedRun& run, const std::set<std::string>& done = {});

// --check: looks at everything that the run would read, and prints what there is to know. Throws bad_input.
void check_run(const PlannedRun& run, const std::filesystem::path& graph_file);

}  // namespace r1
