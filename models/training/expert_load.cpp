#include "models/training/expert_load.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace r1 {

namespace {

// The values of selection biases, or of their slots, in one download: they share a segment.
template <class Set>
std::vector<std::vector<float>> values_of(const Set& set, const std::vector<int>& biases) {
  std::vector<std::vector<float>> values;
  if (biases.empty()) return values;
  const size_t segment = set.place(static_cast<size_t>(biases[0])).segment;
  const std::vector<float> all = download_as<float>(set.segments()[segment].values);
  for (const int b : biases) {
    const WeightSet::Place at = set.place(static_cast<size_t>(b));
    R1_CHECK(at.segment == segment, "selection biases share a segment");
    values.emplace_back(all.begin() + at.begin, all.begin() + at.begin + set.param(b).size());
  }
  return values;
}

}  // namespace

ExpertLoad::ExpertLoad(const ParamLayout& params, bool mtp) {
  for (const LayerParams& l : params.layers)
    if (l.selection_bias >= 0 && (mtp || !params.specs[static_cast<size_t>(l.selection_bias)].mtp))
      biases_.push_back(l.selection_bias);
}

void ExpertLoad::add(const Gradients& grads) {
  counts_.resize(biases_.size());
  const std::vector<std::vector<float>> loads = values_of(grads, biases_);
  for (size_t l = 0; l < biases_.size(); ++l) {
    counts_[l].resize(loads[l].size());
    std::transform(loads[l].begin(), loads[l].end(), counts_[l].begin(), counts_[l].begin(),
                   [](float a, double b) { return a + b; });
  }
}

void ExpertLoad::finish(const WeightSet& masters, TrainStats& stats) const {
  stats.expert_load = counts_;
  for (std::vector<double>& layer : stats.expert_load) {
    const double total = std::max(1.0, std::accumulate(layer.begin(), layer.end(), 0.0));
    for (double& share : layer) share /= total;
  }
  for (const std::vector<float>& bias : values_of(masters, biases_)) {
    const auto [least, most] = std::minmax_element(bias.begin(), bias.end());
    stats.expert_bias_spread = std::max(stats.expert_bias_spread, static_cast<double>(*most) - static_cast<double>(*least));
  }
}

}  // namespace r1
