// LocalScheduler: hosts a whole stage in one thread and in virtual time, one step (a message, a job, a completion) after the
// other. The order of steps is a pure function of the seed; only what the transport guarantees stays in order (messages of one
// sender to one receiver, jobs of one executor). For tests and simulations; not used in runs.
//
//   LocalScheduler stage(graph, "rl1", store, factory, {.seed = 7});
//   EXPECT_EQ(stage.run().outcome, LocalScheduler::Outcome::finished) << stage.result().report;
//
// Thread rule: one thread.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "runtime/flow/local_stage.h"

namespace r1 {

struct LocalOptions {
  uint64_t seed = 0;
  bool random_order = true;    // false: the oldest step first
  std::string faults;          // as in R1_FAULT (drop, fail; slow sleeps for real)
  int64_t message_ns = 1'000;  // virtual time that a step takes
  // Virtual time between a job's submission (or the end of the executor's job before it) and its run; absent: none.
  std::function<int64_t(const std::string& node)> job_ns;
  double stall_s = 60, job_stall_s = 600;
  std::function<void()> after_step;  // looks at invariants
  // Every message goes through bytes, as it will between processes; null: it is handed over. Outlives the scheduler.
  const PayloadCodec* codec = nullptr;
};

class LocalScheduler {
 public:
  enum class Outcome { running, finished, stalled, failed };
  struct Result {
    Outcome outcome = Outcome::running;
    std::string report;        // stalled: the stall report; failed: "NODE: what"
    std::exception_ptr error;  // failed
    int64_t steps = 0;
  };

  // Throws bad_input when the graph has no such stage. `store` and `graph` outlive this.
  LocalScheduler(const GraphView& graph, const std::string& stage, RunStore& store, const RoleFactory& factory,
                 LocalOptions options = {});
  LocalScheduler(GraphView&&, const std::string&, RunStore&, const RoleFactory&, LocalOptions = {}) = delete;

  // Runs until the stage is finished, failed or stands still, or for `max_steps` more steps (outcome running).
  const Result& run(int64_t max_steps = 10'000'000);
  const Result& result() const { return result_; }

  // A message as if node `from` had sent it.
  void post(int from, int to, Envelope envelope) { hosts_->post(from, to, std::move(envelope)); }

  Role& role(const std::string& node);
  bool role_finished(const std::string& node);
  WaitRegistry& waits() { return waits_; }
  VirtualClock& clock() { return world_.clock(); }
  std::string progress_of(const std::string& node) const;

 private:
  const GraphView& graph_;
  const StagePlan* stage_ = nullptr;
  LocalOptions options_;
  StepWorld world_;
  WaitRegistry waits_;
  EngineTimes times_;
  FaultPlan faults_;
  std::unique_ptr<LocalStage> hosts_;
  Result result_;
};

}  // namespace r1
