// The statistics of a batch as they stand in the run store: means over the completions that have a value, never over the groups
// that were kept alone, and what training measured. What was not measured is absent. Names: actors/metric_table.h.
// Thread rule: a value.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "actors/messages.h"
#include "models/training/trainer_config.h"

namespace r1 {

class CompletionStatistics {
 public:
  // One sampled completion. `tokens`: sampled, the end token included.
  void add(const SampleScore& score, int64_t tokens);
  void add_age(int64_t versions);  // of a completion that is trained on
  // One group: its reason for being dropped, or "".
  void add_group(const std::string& dropped);

  // {"reward": mean, PART: mean, ..., "length", "completions", "kept", "dropped", "reward_errors", "age", "age_max",
  //  "missing": {NAME: completions without a value}}
  nlohmann::json json() const;

 private:
  struct Mean {
    double sum = 0;
    int64_t count = 0;
    void add(double value) { sum += value, ++count; }
    double value() const { return sum / static_cast<double>(count); }
  };
  std::map<std::string, Mean> means_;
  Mean length_, age_;
  int64_t age_max_ = 0, completions_ = 0, kept_ = 0, dropped_ = 0, errors_ = 0;
};

// What a batch of a stage measures when it is trained on.
struct TrainingMeasures {
  Objective objective = Objective::sft;
  bool reference = false;  // the batch has log-probabilities of a reference
  bool mtp = false;
};
// `stats` with what training added. A batch without an optimizer step has no loss, gradient norm, learning rate, entropy, ...
nlohmann::json with_training(nlohmann::json stats, const TrainStats& result, const TrainingMeasures& measures);

// The number `name` with `digits` decimals, "-" where it was not measured.
std::string shown(const nlohmann::json& stats, const std::string& name, int digits);

}  // namespace r1
