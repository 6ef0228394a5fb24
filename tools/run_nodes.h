// A run's nodes, for r1-run --hostfile: from a host file to roles that run elsewhere. Thread rule: main()'s thread.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

#include "actors/run_env.h"
#include "runtime/flow/role.h"
#include "runtime/nodes/fleet.h"
#include "runtime/store/run_store.h"

namespace r1 {

class RunNodes {
 public:
  struct Options {
    std::filesystem::path hostfile;
    std::string listen;  // HOST:PORT; "": loopback
    bool allow_missing = false;
    bool any_fingerprint = false;
  };
  // Starts the nodes and waits for them, showing a table. Throws bad_input for a host file that is none, and where a node is
  // missing and may not be. The run directory is this process's; `env`, `graph` and `store` outlive it.
  RunNodes(const Options& options, const RunEnv& env, const GraphView& graph, RunStore& store,
           const std::atomic<bool>& interrupted);

  // `inner` for the roles that stay here; the others are pools.
  RoleFactory factory(RoleFactory inner);
  int64_t cpu_ns() const { return fleet_->members().cpu_ns(); }
  int cores(int here) const;  // of all machines, with `here` of this one

 private:
  const RunEnv& env_;
  const GraphView& graph_;
  std::unique_ptr<Fleet> fleet_;
};

}  // namespace r1
