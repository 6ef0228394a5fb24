// Where the stages of a run live, as interfaces: StageHost is one incarnation of a stage, StageHosts makes them and is the
// world around the conductor - its clock, its I/O thread, what it waits on. In a run roles are CAF actors with threads of their
// own (caf_stage.h); in a simulation everything happens in one thread and virtual time (local_hosts.h). Not a policy: what is
// started, restarted and completed is the Conductor's business.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/flow/executor.h"
#include "runtime/flow/role_host.h"
#include "runtime/store/state_words.h"

namespace r1 {

// Thread rule: owned and called by the conductor's thread.
class StageHost {
 public:
  struct Failure {
    std::string node;
    std::exception_ptr error;
  };
  struct RoleState {
    std::string node, role;
    RoleStatus state = RoleStatus::running;
    std::string progress;  // its last line
  };

  virtual ~StageHost() = default;
  // Ends all roles: no message is handled any more, jobs at hand stop at their next unit, executors are joined. False when that
  // took longer than `limit_s`: then nothing of this stage may be destroyed, and the process has to end.
  virtual bool teardown(double limit_s) = 0;
  virtual bool all_finished() const = 0;
  virtual std::optional<Failure> failure() const = 0;  // the first
  virtual std::vector<RoleState> roles() const = 0;    // in the order of the graph
  // `call` runs on the logical thread of the role of node `node`, as a message to it does: an exception fails the role. It is
  // dropped where the role has failed or is torn down. False when there is no such role here.
  virtual bool call(const std::string& node, std::function<void(RoleHost&)> call) = 0;
};

// Thread rule: wake() from any thread, all else from the conductor's.
class StageHosts {
 public:
  virtual ~StageHosts() = default;
  virtual const Clock& clock() const = 0;
  // The shared I/O thread: run store, files, hooks.
  virtual Executor& io() = 0;
  // Creates the roles - what their constructors throw comes out of here - and starts them. `services.transport` and
  // `services.stop` are set there; the others outlive the stage.
  virtual std::unique_ptr<StageHost> start(HostServices services, const RoleFactory& factory) = 0;
  // Something happened: the wait at hand, or the next one, ends at once.
  virtual void wake() = 0;
  virtual void wait(double at_most_s) = 0;

  // ---- the end of a run. `what` is the conductor's next step in it: where time is real, one that takes longer than `limit_s`
  // is named and ends the process with `code` (base/deadline.h).
  virtual void last_step(const std::string& what, double limit_s, ExitCode code) = 0;
  virtual void last_step_done() = 0;
  virtual void close_io() = 0;  // the job at hand ends, the others are dropped
  virtual void close() = 0;     // after which nothing is started
};

// CAF actors and threads.
std::shared_ptr<StageHosts> make_caf_hosts();

}  // namespace r1
