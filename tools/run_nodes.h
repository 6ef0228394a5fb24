// A run's nodes, for r1-run --hostfile: from a host file to roles that run elsewhere. Thread rule: main()'s thread.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

#include "actors/run_env.h"
#include "runtime/flow/role.h"
#include "runtime/nodes/fleet.h"
#include "runtime/nodes/placement.h"
#include "runtime/shell/shell_command.h"
#include "runtime/store/run_store.h"

namespace r1 {

// What a host file means for a graph. Nothing is started.
struct NodesPlan {
  std::vector<FleetEntry> entries;
  LinkAddress listen;
  Placement placement;
};
// `listen`: HOST:PORT; "": loopback. Throws bad_input for a host file that is none or fits nothing in the graph.
NodesPlan plan_nodes(const std::filesystem::path& hostfile, const std::string& listen, const GraphView& graph);

class RunNodes {
 public:
  struct Options {
    bool allow_missing = false;
    bool any_fingerprint = false;
  };
  // Starts the nodes and waits for them, showing a table. Throws bad_input where a node is missing and may not be. The run
  // directory is this process's; `env`, `graph` and `store` outlive it.
  RunNodes(NodesPlan plan, const Options& options, const RunEnv& env, const GraphView& graph, RunStore& store,
           const std::atomic<bool>& interrupted);

  // `inner` for the roles that stay here; the others are pools.
  RoleFactory factory(RoleFactory inner);
  int64_t cpu_ns() const { return fleet_->members().cpu_ns(); }
  std::vector<ShellNode> shell_rows() const;
  int cores(int here) const;  // of all machines, with `here` of this one

 private:
  const RunEnv& env_;
  const GraphView& graph_;
  Placement placement_;
  std::unique_ptr<Fleet> fleet_;
};

}  // namespace r1
