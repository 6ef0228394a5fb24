#include "models/engines.h"

#include <algorithm>
#include <utility>

#include "models/generation/generator_engine.h"
#include "models/generation/kv_cache.h"
#include "models/training/ranked_learner.h"
#include "models/training/scoring_engine.h"
#include "models/training/trainer_engine.h"

namespace r1 {
namespace {

class DeviceEngines final : public EngineFactory {
 public:
  DeviceEngines(Device& device, double kv_bytes) : device_(device), kv_bytes_(kv_bytes) {}
  std::unique_ptr<Learner> learner(const std::string&, const TrainerConfig& config, const WeightSet& start) const override {
    if (config.ranks > 1) return thread_ranked_learner(device_, config, start);
    return std::make_unique<TrainerEngine>(device_, config, start);
  }
  std::unique_ptr<RankLearner> rank(const std::string&, const TrainerConfig& config, const WeightSet& start,
                                    std::unique_ptr<Collective> together) const override {
    return std::make_unique<TrainerEngine>(device_, config, start, 0, std::move(together));
  }
  std::unique_ptr<Sampler> sampler(const std::string&, const GeneratorConfig& asked, std::shared_ptr<const WeightSet> weights,
                                   int64_t version) const override {
    GeneratorConfig config = asked;
    const ModelConfig& model = weights->config();
    const double page = kv_page_bytes(model, weights->dtype(), model.layers + (config.draft ? 1 : 0));
    if (kv_bytes_ > 0 && config.kv_pages == 0) config.kv_pages = std::max<int64_t>(1, static_cast<int64_t>(kv_bytes_ / page));
    return std::make_unique<GeneratorEngine>(device_, config, std::move(weights), version);
  }
  std::unique_ptr<FrozenModel> frozen(const std::string&, std::shared_ptr<const WeightSet> weights) const override {
    return std::make_unique<ScoringEngine>(device_, std::move(weights));
  }

 private:
  Device& device_;
  double kv_bytes_;
};

}  // namespace

std::shared_ptr<const EngineFactory> device_engines(Device& device, double kv_bytes) {
  return std::make_shared<DeviceEngines>(device, kv_bytes);
}

}  // namespace r1
