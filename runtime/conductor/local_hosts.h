// LocalHosts: a conductor's stages in a StepWorld - whole runs in one thread and in virtual time, from one seed. For
// simulations (tools/sim) and tests; not used in runs. Thread rule: one thread.
#pragma once

#include <memory>

#include "runtime/flow/stage_host.h"
#include "runtime/flow/local_stage.h"

namespace r1 {

class LocalHosts final : public StageHosts {
 public:
  // The world outlives it, and every stage that it starts.
  LocalHosts(StepWorld& world, LocalLinks links);
  ~LocalHosts() override;

  const Clock& clock() const override { return world_.clock(); }
  Executor& io() override { return *io_; }
  std::unique_ptr<StageHost> start(HostServices services, const RoleFactory& factory) override;
  void wake() override { woken_ = true; }
  // The world moves until something woke the conductor, or until `at_most_s` have passed.
  void wait(double at_most_s) override;
  void last_step(const std::string&, double, ExitCode) override {}  // virtual time stands still in it
  void last_step_done() override {}
  void close_io() override { world_.forget(0); }
  void close() override {}

 private:
  StepWorld& world_;
  LocalLinks links_;
  std::unique_ptr<Executor> io_;
  bool woken_ = false;
};

}  // namespace r1
