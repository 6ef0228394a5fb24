// What the committed batches of a stage say together: how far it is, the series that `until` looks at, and how much taught
// nothing. A function of the run store's rows, so that a restarted trainer, the stage's verdict and a replay agree.
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "runtime/until.h"

namespace r1 {

class TrainingProgress {
 public:
  // `planned`: batches of a finite set with all its epochs; 0 where only `until` knows.
  void plan(int64_t planned, int64_t epochs) { planned_ = planned, epochs_ = epochs; }
  // The statistics of the next batch, in order.
  void note(const nlohmann::json& stats);

  // What was measured on the way, as Steering::series() gives it.
  void note_held_out(const std::map<std::string, std::vector<double>>& series);

  // The result refers to this object.
  UntilInput until_input() const;
  bool epochs_over() const { return planned_ > 0 && batches_ >= planned_; }
  int64_t batches() const { return batches_; }
  int64_t trained_tokens() const { return trained_tokens_; }
  // Of stages of examples (or pairs): all, and those with something to learn from.
  int64_t examples() const { return examples_; }
  int64_t examples_trained() const { return examples_trained_; }
  // Batches in a row, up to the newest, in which nothing was trained.
  int64_t idle() const { return idle_; }
  // The newest batch has rewards that could not be computed.
  bool incomplete() const { return incomplete_; }

 private:
  int64_t planned_ = 0, epochs_ = 0, batches_ = 0, tokens_ = 0, trained_tokens_ = 0, examples_ = 0, examples_trained_ = 0,
          idle_ = 0;
  bool incomplete_ = false;
  std::map<std::string, std::vector<double>> series_;
};

}  // namespace r1
