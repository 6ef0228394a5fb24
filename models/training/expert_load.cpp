#include "models/training/expert_load.h"

#include <algorithm>
#include <numeric>
#include <span>

namespace r1 {

namespace {

// The slots of the selection biases: they stand behind all others.
View loads_of(const Gradients& grads) { return grads.flat().slice(grads.body().size(), grads.flat().size()); }

// The values of one of the views that lie inside `all`, of which `host` is a copy.
std::span<const float> part_of(const std::vector<float>& host, const View& all, const View& part) {
  const auto begin = static_cast<size_t>(part.data - all.data) / sizeof(float);
  return std::span(host).subspan(begin, static_cast<size_t>(part.size()));
}

}  // namespace

ExpertLoad::ExpertLoad(const ParamLayout& params, bool mtp) {
  for (const LayerParams& l : params.layers)
    if (l.selection_bias >= 0 && (mtp || !params.specs[static_cast<size_t>(l.selection_bias)].mtp))
      biases_.push_back(l.selection_bias);
}

void ExpertLoad::add(const Gradients& grads) {
  if (biases_.empty()) return;
  counts_.resize(biases_.size());
  const View loads = loads_of(grads);
  const std::vector<float> all = download_as<float>(loads);
  for (size_t l = 0; l < biases_.size(); ++l) {
    const std::span<const float> load = part_of(all, loads, grads.param(biases_[l]));
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
  if (biases_.empty()) return;
  const std::vector<float> all = download_as<float>(masters.selection_biases());
  for (int b : biases_) {
    const std::span<const float> bias = part_of(all, masters.selection_biases(), masters.param(static_cast<size_t>(b)));
    const auto [least, most] = std::minmax_element(bias.begin(), bias.end());
    stats.expert_bias_spread = std::max(stats.expert_bias_spread, static_cast<double>(*most) - static_cast<double>(*least));
  }
}

}  // namespace r1
