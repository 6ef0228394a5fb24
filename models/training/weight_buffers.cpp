#include "models/training/weight_buffers.h"

#include <mutex>
#include <utility>
#include <vector>

namespace r1 {

struct WeightBuffers::Free {
  std::mutex mutex;
  std::vector<std::unique_ptr<WeightSet>> sets;
};

WeightBuffers::WeightBuffers(Device& device, const ModelConfig& config, DType dtype)
    : device_(device), config_(config), dtype_(dtype), free_(std::make_shared<Free>()) {}

std::shared_ptr<WeightSet> WeightBuffers::take() {
  std::unique_ptr<WeightSet> set;
  {
    std::lock_guard lock(free_->mutex);
    if (!free_->sets.empty()) {
      set = std::move(free_->sets.back());
      free_->sets.pop_back();
    }
  }
  if (!set) set = std::make_unique<WeightSet>(device_, config_, dtype_);
  return {set.release(), [home = std::weak_ptr(free_)](WeightSet* given) {
            std::unique_ptr<WeightSet> back(given);
            const auto free = home.lock();
            if (!free) return;
            std::lock_guard lock(free->mutex);
            free->sets.push_back(std::move(back));
          }};
}

}  // namespace r1
