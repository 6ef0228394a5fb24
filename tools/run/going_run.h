// A run that goes on: who looks at it and steers it from outside, its stages, and how it ends. Thread rule: main()'s thread.
#pragma once

#include <memory>

#include "actors/policy_asker.h"
#include "runtime/conductor/conductor.h"
#include "runtime/shell/shell_door.h"
#include "tools/dashboard/dashboard.h"
#include "tools/run/opened_run.h"
#include "tools/run/planned_run.h"
#include "tools/terminal/live_view.h"

namespace r1 {

class GoingRun {
 public:
  // Says what begins, listens where it was told to and starts the nodes. Throws bad_input where it cannot. The references
  // outlive the object.
  GoingRun(PlannedRun& plan, OpenedRun& opened, const RunArguments& args);
  // Runs what is left of the stages. The exit code.
  int finish();

 private:
  void say_what_begins();
  void show_dashboard();
  void start_nodes();
  void let_shells_in();
  void answer_shells();
  StageHooks hooks();
  int say_done(const std::string& summary, const std::string& report_error);
  int say_failed(ExitCode code, Conductor::Again again, const std::string& summary);

  PlannedRun& plan_;
  OpenedRun& opened_;
  const RunArguments& args_;
  RunStore& store_;
  terminal::LiveView view_;
  RunOptions options_;
  std::unique_ptr<dashboard::Dashboard> dashboard_;
  std::unique_ptr<RunNodes> nodes_;
  std::unique_ptr<ShellDoor> door_;
  PolicyAsker asker_;
  double begin_s_ = 0, seconds_before_ = 0;  // of earlier processes
};

}  // namespace r1
