// LocalScheduler: hosts a whole stage in one thread and in virtual time, one step (a message, a job, a completion) after the
// other. The order of steps is a pure function of the seed; only what the transport guarantees stays in order (messages of one
// sender to one receiver, jobs of one executor). For tests and simulations; not used in runs.
//
//   LocalScheduler stage(graph, "rl1", store, factory, {.seed = 7});
//   EXPECT_EQ(stage.run().outcome, LocalScheduler::Outcome::finished) << stage.result().report;
//
// Thread rule: one thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "base/clock.h"
#include "base/rng.h"
#include "runtime/flow/role_host.h"
#include "runtime/flow/wire.h"

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

class LocalScheduler final : public HostTransport {
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
  ~LocalScheduler() override;

  // Runs until the stage is finished, failed or stands still, or for `max_steps` more steps (outcome running).
  const Result& run(int64_t max_steps = 10'000'000);
  const Result& result() const { return result_; }

  Role& role(const std::string& node);
  bool role_finished(const std::string& node);
  WaitRegistry& waits() { return waits_; }
  VirtualClock& clock() { return clock_; }
  std::string progress_of(const std::string& node) const;

  void post(int from, int to, Envelope envelope) override;
  void run(int from, int on, std::function<void()> call) override;
  void finished(int node) override;
  void failed(int node, std::exception_ptr error) override;
  void end_stage(int node) override;
  void progress(int node, const std::string& text) override;

 private:
  class StepExecutor;
  struct Step {
    int64_t ready_ns = 0;
    int64_t order = 0;
    std::function<void()> run;
  };
  using Lane = std::pair<int, int>;  // (from, to), or the jobs of an executor

  void push(Lane lane, int64_t ready_ns, std::function<void()> run);
  bool step();
  RoleHost& host(const std::string& node);

  const GraphView& graph_;
  const StagePlan* stage_ = nullptr;
  LocalOptions options_;
  VirtualClock clock_;
  WaitRegistry waits_;
  EngineTimes times_;
  FaultPlan faults_;
  Rng rng_;
  std::map<Lane, std::deque<Step>> lanes_;
  int64_t pushed_ = 0;
  std::map<int, std::unique_ptr<Executor>> executors_;
  std::unique_ptr<Executor> io_;
  std::map<int, std::unique_ptr<RoleHost>> hosts_;
  std::map<int, std::string> progress_;
  std::map<int, PayloadPtr> last_sent_;  // by edge, where messages go through bytes
  size_t finished_ = 0;
  Result result_;
};

}  // namespace r1
