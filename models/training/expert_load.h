// How the tokens of a batch spread over the experts of each layer, read off the gradient slots of the selection biases (where
// backward counts them) after every optimizer step. Statistics alone: the balancing itself is the optimizer's.
// Thread rule: one thread at a time.
#pragma once

#include "models/model.h"
#include "models/tape.h"
#include "models/training/trainer_engine.h"

namespace r1 {

class ExpertLoad {
 public:
  // Layers of the MTP module count when it is trained.
  ExpertLoad(const ParamLayout& params, bool mtp);

  // Adds the counts of one optimizer step.
  void add(const Gradients& grads);
  // Fills expert_load and expert_bias_spread.
  void finish(const WeightSet& masters, TrainStats& stats) const;

 private:
  std::vector<int> biases_;                  // one parameter a layer
  std::vector<std::vector<double>> counts_;  // [layer][expert]; empty before the first add
};

}  // namespace r1
