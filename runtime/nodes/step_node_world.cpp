#include "runtime/nodes/step_node_world.h"

#include <utility>

namespace r1 {

StepNodeWorld::~StepNodeWorld() {
  hold(false);
  for (const auto& [executor, life] : lives_) world_.forget(life);
  world_.forget(life_);
}

void StepNodeWorld::hold(bool held) {
  held_ = held;
  world_.hold(life_, held);
  for (const auto& [executor, life] : lives_) world_.hold(life, held);
}

void StepNodeWorld::post_after(double seconds, std::function<void()> call) {
  world_.push({life_, 1, 0}, world_.clock().now_ns() + static_cast<int64_t>(seconds * 1e9), std::move(call));
}

std::unique_ptr<Executor> StepNodeWorld::executor(const std::string& name) {
  const int64_t life = world_.new_life();
  auto made = world_.executor({life, 0, 0}, name);
  lives_[made.get()] = life;
  world_.hold(life, held_);
  return made;
}

void StepNodeWorld::end(std::vector<std::unique_ptr<Executor>> executors, std::function<void()> then) {
  for (const auto& executor : executors) {
    world_.hold(lives_.at(executor.get()), false);
    world_.forget(lives_.at(executor.get()));
    lives_.erase(executor.get());
  }
  post(std::move(then));
}

}  // namespace r1
