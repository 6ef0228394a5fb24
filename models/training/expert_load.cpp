#include "models/training/expert_load.h"

#include <algorithm>
#include <numeric>

namespace r1 {

ExpertLoad::ExpertLoad(const ParamLayout& params, bool mtp) {
  for (const LayerParams& l : params.layers)
    if (l.selection_bias >= 0 && (mtp || !params.specs[static_cast<size_t>(l.selection_bias)].mtp))
      biases_.push_back(l.selection_bias);
}

void ExpertLoad::add(const Gradients& grads) {
  counts_.resize(biases_.size());
  for (size_t l = 0; l < biases_.size(); ++l) {
    const std::vector<float> load = download_as<float>(grads.param(biases_[l]));
    counts_[l].resize(load.size());
    std::transform(load.begin(), load.end(), counts_[l].begin(), counts_[l].begin(), [](float a, double b) { return a + b; });
  }
}

void ExpertLoad::finish(const WeightSet& masters, TrainStats& stats) const {
  stats.expert_load = counts_;
  for (std::vector<double>& layer : stats.expert_load) {
    const double total = std::max(1.0, std::accumulate(layer.begin(), layer.end(), 0.0));
    for (double& share : layer) share /= total;
  }
  for (int b : biases_) {
    const std::vector<float> bias = download_as<float>(masters.param(static_cast<size_t>(b)));
    const auto [least, most] = std::minmax_element(bias.begin(), bias.end());
    stats.expert_bias_spread = std::max(stats.expert_bias_spread, static_cast<double>(*most) - static_cast<double>(*least));
  }
}

}  // namespace r1
