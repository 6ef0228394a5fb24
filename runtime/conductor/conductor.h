// Conductor: runs the stages of a graph in dependency order - starts their roles where its StageHosts say (CAF actors, or one
// thread in virtual time), watches over them, restarts a stage that fails or stands still from the run store, and completes it.
// Nothing here knows what a role does, or where.
//
// A stage is complete when all its roles finished; then the verdict and summary hooks run and RunStore::complete_stage. A
// stage whose verdict is that it failed is stored so, the stages that depend on it never start, the others go on; continuing
// such a run says the same again. A failure (an
// exception in a role, or a stall) tears all roles of the stage down - jobs at hand end, executors are joined - and creates
// them anew, which recovers them from the run store. After max_restarts failures without a batch committed in between, after
// the same failure twice at the same batch, or at once for bad_input, the run ends.
//
// An interrupt stops jobs between their units (base/stop.h). What hangs all the same - a job, a hook, the shell, the store - is
// named after stop_s (job_stall_s where nobody interrupted), and the process ends without it.
//
// Thread rule: run() blocks its caller; the interrupt flag may be set from a signal handler. Hooks run on the run's I/O thread,
// the ProgressSink is called from the thread of run().
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "runtime/flow/stage_host.h"
#include "runtime/store/stage_times.h"
#include "runtime/conductor/shell_orders.h"
#include "runtime/conductor/stage_verdict.h"
#include "runtime/fault.h"
#include "runtime/flow/role.h"
#include "runtime/graph/graph.h"
#include "runtime/shell/shell_command.h"

namespace r1 {

class RunStore;
class ShellDoor;

struct RunOptions {
  std::filesystem::path run_dir;
  uint64_t seed = 0;
  int max_parallel_stages = 1;
  double stall_s = 60;       // nothing moved and no job runs
  double job_stall_s = 600;  // nothing moved and a job runs: no unit of it was done either (base/stop.h)
  double stop_s = 10;        // after an interrupt: what has not stopped by then is named and left behind
  int max_restarts = 3;
  double tick_s = 0.2;                            // how often waits, the interrupt flag and progress are looked at
  std::function<int64_t()> compute_cpu_ns;        // CPU time inside ops so far, of the whole process; may be absent
  std::shared_ptr<FaultPlan> faults;              // null: those of R1_FAULT
  std::function<std::vector<ShellNode>()> nodes;  // of a run of several processes, for the shell; may be absent
  std::set<std::string> at_nodes;                 // as in ShellSources
  ShellNodeOrders node_orders;                    // likewise
  // Given what a shell sees of the run when its stages may start; what it returns lives until they have ended. May be absent.
  std::function<std::shared_ptr<void>(const ShellSources&)> watch;
  decltype(ShellSources::check_set) check_set;  // of the shell, as the next two; absent: nothing may be set
  decltype(ShellSources::live) live;
  decltype(ShellSources::trajectories) trajectories;
  ShellOrders::Ask ask;       // of the shell's `ask`; absent: it may not
  bool shell = true;          // listen for r1-shell on the socket run_dir/shell/socket
  ShellDoor* door = nullptr;  // and over the network; outlives the run
};

// With what the graph's own attributes say (parallel_stages, stall_s, job_stall_s, max_restarts).
RunOptions run_options(const GraphView& graph, const std::filesystem::path& run_dir, uint64_t seed);

struct StageHooks {
  // Once per run() and stage, before its roles start; not again when the stage is restarted. May be absent.
  std::function<void(const GraphView&, const StagePlan&)> before;
  // After all roles finished: what the stage has to show for itself. May be absent: then every stage is done.
  std::function<StageVerdict(const GraphView&, const StagePlan&)> verdict;
  // Then: the JSON stored by complete_stage. May be absent ("{}").
  std::function<std::string(const GraphView&, const StagePlan&, const StageTimes&)> summary;
  // Every few seconds while a stage runs, when its times were stored. May be absent.
  std::function<void()> times_stored;
};

class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  virtual void stage_started(const std::string& /*stage*/, bool /*continued*/) {}
  // Every tick in which something changed: (node, its last progress line), in the order of the graph.
  virtual void stage_progress(const std::string& /*stage*/, const std::vector<std::pair<std::string, std::string>>& /*lines*/) {
  }
  virtual void stage_done(const std::string& /*stage*/, const std::string& /*summary_json*/, const StageVerdict&) {}
  virtual void message(const std::string& /*text*/) {}
};

class Conductor {
 public:
  // All references outlive the conductor. `hosts`: where the stages live (make_caf_hosts() in a run). Throws bad_input when
  // R1_FAULT is malformed.
  Conductor(const GraphView& graph, RunStore& store, RoleFactory factory, StageHooks hooks, RunOptions options,
            ProgressSink& sink, std::shared_ptr<StageHosts> hosts);
  ~Conductor();

  // Runs what is left of the graph. done: all stages are; interrupted: the flag was set, everything is stored; failed or
  // bad_input: the reason was logged (stderr, r1.log) and is failure_reason(). Stalls and restarts are logged too, and stored
  // as events.
  ExitCode run(std::atomic<bool>& interrupted);
  const std::string& failure_reason() const;
  // What the reason is about, by stage; empty when the run is done or was interrupted.
  const std::vector<StageFailure>& failures() const;
  // What the same command would do: go on; meet the same failure unless its cause is gone; say the same verdict again.
  enum class Again { goes_on, meets_the_cause, says_the_same };
  Again again() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
