#include "models/engines.h"

#include <utility>

#include "models/generation/generator_engine.h"
#include "models/training/scoring_engine.h"
#include "models/training/trainer_engine.h"

namespace r1 {
namespace {

class DeviceEngines final : public EngineFactory {
 public:
  explicit DeviceEngines(Device& device) : device_(device) {}
  std::unique_ptr<Learner> learner(const std::string&, const TrainerConfig& config, const WeightSet& start) const override {
    return std::make_unique<TrainerEngine>(device_, config, start);
  }
  std::unique_ptr<Sampler> sampler(const std::string&, const GeneratorConfig& config, std::shared_ptr<const WeightSet> weights,
                                   int64_t version) const override {
    return std::make_unique<GeneratorEngine>(device_, config, std::move(weights), version);
  }
  std::unique_ptr<FrozenModel> frozen(const std::string&, std::shared_ptr<const WeightSet> weights) const override {
    return std::make_unique<ScoringEngine>(device_, std::move(weights));
  }

 private:
  Device& device_;
};

}  // namespace

std::shared_ptr<const EngineFactory> device_engines(Device& device) { return std::make_shared<DeviceEngines>(device); }

}  // namespace r1
