// A run whose directory this process has taken: its store, and what was compared with what the run began with.
#pragma once

#include <memory>
#include <string>

#include "runtime/store/run_directory.h"
#include "runtime/store/run_store.h"
#include "tools/run/planned_run.h"

namespace r1 {

struct OpenedRun {
  RunDirectory taken;
  std::unique_ptr<RunStore> store;
  std::string fingerprint;
  bool complete = false;   // nothing is left to do; what follows is not set
  bool continued = false;  // stages of it ran before
  DataCheck data;
};

// Makes the run directory, or takes up what lies there. A new run that is refused leaves nothing behind. Throws bad_input where
// the directory, the graph, the arithmetic or what the run reads does not fit what it began with.
OpenedRun open_run(const PlannedRun& run, const RunArguments& args);

}  // namespace r1
