// The engine of frozen models: log-probabilities (the reference) and scalar scores (reward models), packed in micro-batches.
// Thread rule: one thread at a time; what a call has issued on the device is done when it returns.
#pragma once

#include <memory>
#include <vector>

#include "models/engines.h"

namespace r1 {

class ScoringEngine final : public FrozenModel {
 public:
  ScoringEngine(Device&, std::shared_ptr<const WeightSet> weights, int64_t micro_batch_tokens = 2048);
  ~ScoringEngine() override;
  void set_weights(std::shared_ptr<const WeightSet> weights) override;
  // The training forward pass: same bits as TrainerEngine's at equal weights.
  std::vector<std::vector<float>> logprobs(const std::vector<Sequence>& sequences, double temperature) override;
  std::vector<float> scores(const std::vector<std::vector<int32_t>>& sequences) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
