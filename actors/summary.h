// summary.json: what a run's store says about its stages (docs/architecture.md section 7).
// Thread rule: pure functions but for reading the run store.
#pragma once

#include <string>
#include <vector>

#include "actors/run_env.h"
#include "runtime/store/stage_times.h"
#include "runtime/conductor/stage_verdict.h"
#include "runtime/store/run_store.h"

namespace r1 {

// The stage's object of summary.json.
std::string stage_summary(const GraphView& graph, const StagePlan& stage, const RunStore& store, int64_t stage_id,
                          const StageTimes& times, int cores);

struct RunFacts {
  std::string graph, fingerprint, machine;
  uint64_t seed = 0;
  double seconds = 0;
  std::vector<StageFailure> failures;  // why the run ended with exit code 1; empty when it is done
};
std::string run_summary(const RunFacts& facts, const RunStore& store);

// Why the run's last process ended with exit code 1 or 2: in the run store as [{"stage", "reason"}], as in summary.json.
void note_failures(RunStore& store, const std::vector<StageFailure>& failures);
std::vector<StageFailure> failures_of(const RunStore& store);

std::string describe_machine();  // "2 cores, Intel(R) Xeon(R) Processor, 23 GiB"

}  // namespace r1
