// What the runtime measured about a stage while it ran, summed over restarts of the stage and of the process.
// Kept in the run store (StageRow::times_json), a little behind: a kill loses the last seconds.
// Thread rule: a value.
#pragma once

#include <map>
#include <string>

#include "runtime/store/run_store.h"

namespace r1 {

struct StageTimes {
  double seconds = 0;                      // wall time with roles running
  double compute_cpu_s = 0;                // thread CPU time inside ops; of the whole process while the stage ran
  double overlap_s = 0;                    // a "generator" and a "trainer" job at work at the same time
  double idle_s = 0;                       // no job of any engine at work
  std::map<std::string, double> engine_s;  // at least one job of the engine at work

  double overlap() const { return seconds > 0 ? overlap_s / seconds : 0; }
  double idle() const { return seconds > 0 ? idle_s / seconds : 0; }
  double busy(int cores) const { return seconds > 0 && cores > 0 ? compute_cpu_s / (seconds * cores) : 0; }

  std::string json() const;
  static StageTimes of(const RunStore& store, const StageRow& row);  // zeros before the first; throws failure when damaged
  void add(const StageTimes& more);
};

}  // namespace r1
