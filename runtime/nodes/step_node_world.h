// The world of a node in a StepWorld: its thread, its jobs and its time are lanes there, which may be forgotten (kill -9) or
// held (SIGSTOP). For simulations and tests; not used in runs. Thread rule: one thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/flow/step_world.h"
#include "runtime/nodes/node_world.h"

namespace r1 {

class StepNodeWorld final : public NodeWorld {
 public:
  explicit StepNodeWorld(StepWorld& world) : world_(world), life_(world.new_life()) {}
  // As kill -9: nothing that is to happen in it happens.
  ~StepNodeWorld() override;

  // Nothing happens in it until it is let go on; what is to happen then happens.
  void hold(bool held);

  void post(std::function<void()> call) override { world_.push({life_, 0, 0}, 0, std::move(call)); }
  void post_after(double seconds, std::function<void()> call) override;
  std::unique_ptr<Executor> executor(const std::string& name) override;
  void end(std::vector<std::unique_ptr<Executor>> executors, std::function<void()> then) override;
  const Clock& clock() const override { return world_.clock(); }

 private:
  StepWorld& world_;
  const int64_t life_;
  bool held_ = false;
  std::map<Executor*, int64_t> lives_;
};

}  // namespace r1
