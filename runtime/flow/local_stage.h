// LocalStage: the roles of one incarnation of a stage inside a StepWorld, and the links between them, which a simulation may
// make lose, repeat and damage messages. For tests and simulations; not used in runs. Thread rule: one thread.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/flow/stage_host.h"
#include "runtime/flow/step_world.h"
#include "runtime/flow/wire.h"

namespace r1 {

enum class Delivery { once, lost, twice };

struct LocalLinks {
  // Every message goes through bytes, as it will between processes; null: it is handed over. Outlives the stage.
  const PayloadCodec* codec = nullptr;
  std::function<int64_t()> delay_ns;  // of each message, behind the one before it on its way; absent: none
  // What becomes of a message (payload, credit or the end of the stage) on its way to node `to`; absent: it arrives once.
  std::function<Delivery(const StagePlan&, int to, const Envelope&)> deliver;
  // May change the bytes of a message; asked where there is a codec. Absent: it does not.
  std::function<void(const StagePlan&, int to, Packet&)> damage;
  // Look on; may be absent. What arrives twice is noted twice.
  std::function<void(const StagePlan&, int from, int to, const Envelope&)> sent, arrived;
  // The share of jobs at hand that are done when the stage is torn down; the others never ran.
  double done_at_teardown = 0;
};

class LocalStage final : public StageHost, public HostTransport {
 public:
  LocalStage(StepWorld& world, HostServices services, const RoleFactory& factory, LocalLinks links = {},
             std::function<void()> wake = {});
  ~LocalStage() override;

  bool teardown(double limit_s) override;
  bool all_finished() const override { return finished_ == slots_.size(); }
  std::optional<Failure> failure() const override { return failure_; }
  std::vector<RoleState> roles() const override;
  bool call(const std::string& node, std::function<void(RoleHost&)> call) override;

  RoleHost* host(const std::string& node);  // null: no such role here

  void post(int from, int to, Envelope envelope) override;
  void run(int from, int on, std::function<void()> call) override;
  void finished(int node) override;
  void failed(int node, std::exception_ptr error) override;
  void end_stage(int node) override;
  void progress(int node, const std::string& text) override;

 private:
  struct Slot {
    std::unique_ptr<Executor> executor;
    std::unique_ptr<RoleHost> host;
    RoleStatus state = RoleStatus::running;
    std::string progress;
  };
  StepWorld::Lane jobs_of(int node) const;
  std::string way(int from, int to) const;
  void arrive(int from, int to, const Envelope& envelope);

  StepWorld& world_;
  const int64_t life_;
  HostServices services_;
  LocalLinks links_;
  std::function<void()> wake_;
  std::unique_ptr<Executor> io_;
  std::map<int, Slot> slots_;
  std::map<int, PayloadPtr> last_sent_;  // by edge, where messages go through bytes
  size_t finished_ = 0;
  std::optional<Failure> failure_;
  bool closed_ = false;
  std::atomic<bool> stop_{false};  // for jobs
};

}  // namespace r1
