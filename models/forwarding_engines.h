// Engines from another factory, but for those that a subclass makes itself. Thread rule: as EngineFactory.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "models/engines.h"

namespace r1 {

class ForwardingEngines : public EngineFactory {
 public:
  explicit ForwardingEngines(std::shared_ptr<const EngineFactory> inner) : inner_(std::move(inner)) {}
  std::unique_ptr<Learner> learner(const std::string& node, const TrainerConfig& config,
                                   const WeightSet& start) const override {
    return inner_->learner(node, config, start);
  }
  std::unique_ptr<RankLearner> rank(const std::string& node, const TrainerConfig& config, const WeightSet& start,
                                    std::unique_ptr<Collective> together) const override {
    return inner_->rank(node, config, start, std::move(together));
  }
  std::unique_ptr<Sampler> sampler(const std::string& node, const GeneratorConfig& config,
                                   std::shared_ptr<const WeightSet> weights, int64_t version) const override {
    return inner_->sampler(node, config, std::move(weights), version);
  }
  std::unique_ptr<FrozenModel> frozen(const std::string& node, std::shared_ptr<const WeightSet> weights) const override {
    return inner_->frozen(node, std::move(weights));
  }

 protected:
  const std::shared_ptr<const EngineFactory> inner_;
};

}  // namespace r1
