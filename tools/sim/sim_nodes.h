// The nodes of a simulated run: processes with the real Node, roles and link protocol in the simulation's world, which join a
// head, are killed, stopped, cut off and started again as the scenario says. The head's half - links, members, pools - is the
// real one too. Not what is computed there (models/fake) and not the promises (tools/sim/watch.h), but for one: no node is lost
// to which nothing was done. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "actors/run_env.h"
#include "base/rng.h"
#include "runtime/flow/role.h"
#include "runtime/flow/step_world.h"
#include "runtime/net/memory_links.h"
#include "runtime/nodes/members.h"
#include "runtime/nodes/memory_peers.h"
#include "runtime/nodes/node.h"
#include "runtime/nodes/pool_role.h"
#include "runtime/nodes/step_node_world.h"
#include "tools/sim/scenario.h"
#include "tools/sim/sim_rings.h"

namespace r1 {

class SimNodes {
 public:
  struct Options {
    std::filesystem::path dir;  // of their files
    std::shared_ptr<const EngineFactory> engines;
    std::function<void(const std::string& line)> note;       // what happens to them
    std::function<void(const std::string& what)> violation;  // a promise that was broken
  };
  // All outlive it; the scenario has nodes.
  SimNodes(StepWorld& world, const Scenario& scenario, Options options);
  ~SimNodes();

  // A process of the run begins, before its conductor, and ends after it. `graph_file`: what nodes are sent. Trainers get
  // engines in `env` whose ranks live at nodes.
  RoleFactory begin_head(RunEnv& env, RunStore& store, const GraphView& graph, const std::filesystem::path& graph_file);
  // As kill -9 of the process: nothing that it says from now on is heard.
  void crash_head();
  void end_head();

  // After every step: what is due happens.
  void look();
  int64_t faults() const { return faults_; }  // that happened
  // Whether something was done to a process with a rank of a trainer since this was asked last.
  bool take_rank_cause() { return std::exchange(rank_cause_, false); }

 private:
  class Ears;
  class Mouth;
  struct Process {
    std::unique_ptr<StepNodeWorld> world;
    std::unique_ptr<PeerNet> peers;  // as number `wire`
    std::unique_ptr<Node> node;
    std::unique_ptr<Links> links;
    int wire = -1;
    int64_t epoch = 0;  // of the head that it joined
    bool over = false, has_ranks = false;
  };
  struct Slot {
    std::unique_ptr<Process> process;
    int64_t starts = 0;  // of processes, so that what is due for one does not meet the next
    PeerId peer = 0;     // at the head; 0: not joined
    int peer_wire = -1;  // of that link
  };

  void at(double seconds, std::function<void()> call);
  void start(size_t slot);
  void start_later(size_t slot, double seconds);
  void kill(size_t slot);
  void told(const Member& member, bool up, const std::string& why);
  void fault(const NodeFault& fault);
  void tick();
  MemoryNet::Options net_options();
  SimRings::Options ring_options();
  void disturbed(const Process& process);
  void rank_opened(PeerId peer);
  MemoryPeers::Options peer_options();
  int64_t delay_ns();
  LinkTerms terms(const std::string& host);
  void note(const std::string& line) { options_.note(line); }

  StepWorld& world_;
  const Scenario& scenario_;
  const Options options_;
  Rng rng_;
  const int64_t life_;
  MemoryNet net_;
  SimRings rings_;
  MemoryPeers peers_;
  std::map<int, int> peer_damage_;  // of the next message from a door, by process
  std::vector<Slot> slots_;
  bool rank_cause_ = false;
  std::set<int> disturbed_;         // wires
  std::map<int64_t, int> wire_of_;  // by the process id that is told to the head, which may hear of it when it is killed
  std::map<int, int> damage_;       // messages of a wire that are still to be damaged
  int64_t pids_ = 0, epoch_ = 0, faults_ = 0;
  size_t next_fault_ = 0;
  std::shared_ptr<ReadOnce> once_ = std::make_shared<ReadOnce>();

  // Of the head at work.
  const GraphView* graph_ = nullptr;
  std::unique_ptr<Executor> files_;
  int64_t files_life_ = 0;
  std::unique_ptr<Members> members_;
  std::unique_ptr<Ears> ears_;
  std::unique_ptr<Links> head_;
  std::unique_ptr<Mouth> mouth_;
  bool crashed_ = false;  // it answers nobody
};

}  // namespace r1
