// What the report and the event files show, read from a run's store into plain values: series by batch, held-out metrics,
// ledger, times. Nothing here is HTML.
// Thread rule: values; read_run may be called from any thread while the run goes on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/store/stage_times.h"
#include "runtime/conductor/stage_verdict.h"
#include "runtime/graph/graph.h"
#include "runtime/store/run_store.h"

namespace r1::report {

enum class StageKind { pretrain, sft, rl, reward_model, distill, sampling };
const char* kind_name(StageKind kind);   // "pre-training", "RL", ...
const char* kind_class(StageKind kind);  // CSS class: "k-pre", "k-rl", ...

// A statistic over the batches of a stage; x is the version that the batch was trained on top of. y is NaN where a batch did
// not measure it.
struct Curve {
  std::vector<double> x, y;
};

struct StageData {
  const StagePlan* plan = nullptr;
  int index = -1;  // in GraphView::stages
  StageRow row;
  StageKind kind = StageKind::pretrain;
  nlohmann::json summary;  // its object of summary.json; of a running stage: as far as it is known
  StageTimes times;
  std::map<std::string, Curve> curves;    // every number of the batches' statistics, by name
  std::vector<std::string> asked;         // what the judge's `rewards` asks for; empty without a judge
  std::vector<std::string> reward_parts;  // of the judge's scores, those that the stage is shown by
  // Of the evaluations on the way, with those before and after, by metric: x is the version that was measured.
  std::map<std::string, Curve> held_out;
  // [batch][MoE layer][expert]: share of that batch's routed tokens; expert_x: the batches' versions. Empty for dense models.
  std::vector<std::vector<std::vector<double>>> expert_load;
  std::vector<double> expert_x;
  LedgerCounts ledger;
  std::string ledger_complaint;  // "" when it is sound
  std::vector<Resolution> resolutions;
  int64_t published = 0;  // versions
  int64_t staleness_bound = 0;
  int64_t restarts = 0, stalls = 0;

  bool broke = false;  // the run's last process ended because of it

  bool started() const { return row.status != StageStatus::waiting; }
  bool done() const { return row.status == StageStatus::done; }
  bool failed() const { return row.status == StageStatus::failed; }
  bool ended() const { return row.ended(); }
  const Curve* curve(const std::string& name) const;  // null when absent or without points
  // Held-out metric before ("before") or after ("after") the stage; NaN when it was not measured, or is not what its
  // evaluators' `rewards` ask for (shown_metric).
  double metric(const char* when, const std::string& name) const;
  std::string title() const;  // its label, or its name
};

struct RunData {
  const GraphView* graph = nullptr;
  std::string graph_file, machine, fingerprint, precision, started;  // "" where unknown
  uint64_t seed = 0;
  double seconds = 0;
  int cores = 1;
  std::vector<StageData> stages;  // in the graph's order

  std::vector<StageFailure> failures;  // why its last process ended with exit code 1 or 2
  std::vector<std::string> changes;  // while it ran, by commands and r1-shell: "rl_trainer.lr: 1e-3 → 1e-4 from batch 12 on"

  size_t done() const;
  bool finished() const { return done() == stages.size(); }
};

// The names of the evaluators' `rewards`, in the order of stages.
std::vector<std::string> held_out_rewards(const RunData& run);

StageKind kind_of(const GraphView& graph, int stage);

// One stage. `row`: of the store, null where it has none; `cores`: of the machine. The graph outlives the result.
StageData read_stage(const GraphView& graph, int index, const StageRow* row, const RunStore& store, int cores);

// What is known of a run without looking at its stages.
RunData read_head(const GraphView& graph, const RunStore& store);

// `store` may belong to a run that goes on. The graph outlives the result.
RunData read_run(const GraphView& graph, const RunStore& store);

}  // namespace r1::report
