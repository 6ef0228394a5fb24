// Evaluations on the way that decide about a stage: an evaluator with every=N and an edge back to the trainer is asked at every
// N-th version, and the trainer waits for what it measured. So `until` may name held-out metrics (held_out/NAME), and the best
// version is kept (keep=best): both are functions of rows of the run store, whatever is restarted.
//
// The best version: the one with the highest value of the evaluator's `metric` among the versions that were measured, every
// N-th and the last; of equal ones the earlier. A version without the metric is none.
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/graph/graph.h"
#include "runtime/store/run_store.h"
#include "runtime/flow/stage_memory.h"

namespace r1 {

struct SteeringEvaluator {
  const NodePlan* node = nullptr;
  int edge = -1;  // trainer -> evaluator
  int64_t every = 0;
  bool keeps_best = false;
  std::vector<std::string> metrics;  // the first of them that was measured decides which version is the best
};

// Those of the stage, in the graph's order.
std::vector<SteeringEvaluator> steering_evaluators(const GraphView&, int stage);

// The metric by which `evaluator` tells the best version: its `metric`; else `reward` where it has `rewards`, else `accuracy`,
// or `pair_accuracy` where it has pairs alone.
std::vector<std::string> deciding_metrics(const NodePlan& evaluator);

class Steering {
 public:
  Steering() = default;
  Steering(const GraphView&, int stage);

  void restore(const RunStore&, int64_t stage_id);
  void restore(const StageJournal&);
  bool any() const { return !evaluators_.empty(); }
  // Who has to measure `version` and has not. `last`: it is the stage's last one; who keeps the best one measures it too.
  std::vector<const SteeringEvaluator*> due(int64_t version, bool last) const;
  void note(const std::string& node, int64_t version, const std::map<std::string, double>& metrics);
  // Throws bad_input where an evaluator that keeps the best version measured nothing that says which one that is: none would
  // be kept.
  void check_decides(const std::string& node, const std::map<std::string, double>& metrics) const;

  // The same of a name of `until` after held_out/ that all of them have answered without.
  void check_names(const NodePlan& trainer, const std::vector<std::string>& until_metrics) const;

  struct Best {
    std::string node, metric;
    int64_t version = 0;
    double value = 0;
  };
  std::optional<Best> best() const;  // nullopt where none is kept or none was measured

  // For `until`: what was measured at every N-th version, oldest first, of the first evaluator that has the metric.
  std::map<std::string, std::vector<double>> series() const;

 private:
  void restore(const EvaluationRow& row, const nlohmann::ordered_json& metrics);

  std::vector<SteeringEvaluator> evaluators_;
  std::map<std::string, std::map<int64_t, std::map<std::string, double>>> measured_;  // by node, by version
};

}  // namespace r1
