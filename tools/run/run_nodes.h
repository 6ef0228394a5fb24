// A run's nodes, for r1-run --hostfile and --slurm: from a host file to roles that run elsewhere. Thread rule: main()'s thread.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <set>
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
  std::string address;   // by which nodes of other machines reach this one; "": listen's
  PortRange rank_ports;  // that the first rank of a trainer may listen on
  Placement placement;
};
struct ListenWords {
  std::string listen;   // HOST:PORT or HOST:FROM-TO; "": loopback
  std::string address;  // of this machine, for others; "": listen's
};
// `hostfile`: "" for the machines of this Slurm job. Throws bad_input for a host file that is none or fits nothing in the
// graph, and outside of a Slurm job.
NodesPlan plan_nodes(const std::filesystem::path& hostfile, const ListenWords& where, const GraphView& graph);
// placement_text, and of a trainer where each of its ranks is: "rl_trainer: rank 0 head, 1 node1, 2 node2".
std::string nodes_placement_text(const GraphView& graph, const Placement& placement);

class RunNodes {
 public:
  struct Options {
    bool allow_missing = false;
    bool any_fingerprint = false;
    int64_t invitations = 0;  // for nodes that are started by hand
  };
  // Starts the nodes and waits for them, showing a table. Throws bad_input where a node is missing and may not be. The run
  // directory is this process's; `env`, `graph` and `store` outlive it.
  RunNodes(NodesPlan plan, const Options& options, const RunEnv& env, const GraphView& graph, RunStore& store,
           const std::atomic<bool>& interrupted);

  // Trainers' engines have their ranks at nodes from now on. `env`: the run's.
  void place_ranks(RunEnv& env);
  // `inner` for the roles that stay here; the others are pools.
  RoleFactory factory(RoleFactory inner);
  int64_t cpu_ns() const { return fleet_->members().cpu_ns(); }
  std::vector<ShellNode> shell_rows() const;
  std::set<std::string> actors() const;  // whose work nodes do; not trainers, whose first rank is with the head
  // For the shell. They change no result; drain() refuses a node without which a role would have none.
  ShellNodeOrders orders();
  int cores(int here) const;  // of all machines, with `here` of this one

 private:
  void take_up_orders();                       // those of a shell that earlier processes of the run have kept
  std::string drain(const std::string& node);  // ends its work and leaves; is not started again
  std::string undrain(const std::string& node);
  void keep_scale(const NodePlan& role, int64_t workers);
  std::string scale(const std::string& role, int64_t workers);  // how many nodes do its work; 0: all that may
  std::vector<std::string> able(int node) const;                // names of those that may do its work, and are not leaving

  const RunEnv& env_;
  const GraphView& graph_;
  RunStore& store_;
  Placement placement_;
  const std::string listen_host_;  // where the head's own ranks listen too
  const PortRange rank_ports_;
  const PeerHello self_;
  std::unique_ptr<Fleet> fleet_;
};

}  // namespace r1
