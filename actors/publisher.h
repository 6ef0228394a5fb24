// The versions of a trainer's weights: made where a receiver wants one, sent to whom they are for, recorded. What a receiver
// wants is what its port says (runtime/graph/graph.h). Not how a version is coded (models/version_delta.h), nor what a receiver
// makes of it (actors/weight_receiver.h), nor when evaluations on the way are due (actors/steering.h).
// Thread rule: make() on the executor, the rest on the role while no job that makes one is running.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "actors/messages.h"
#include "models/engines.h"
#include "runtime/flow/role.h"

namespace r1 {

class Publisher {
 public:
  Publisher() = default;
  Publisher(const GraphView& graph, const std::vector<int>& edges);

  // Whether somebody wants `version` as soon as it is there.
  bool wanted(int64_t version) const;
  // The engine's version becomes the current one, if it is not. Throws failure naming the tensor when a weight is no finite
  // number.
  void make(const Learner& engine);
  const std::shared_ptr<const WeightsMessage>& current() const { return current_; }

  // The current version goes to those who want it, once, and into the run store.
  void publish(RoleContext& context);
  // The same of the stage's last version, which is current, for those who want that one.
  void publish_last(RoleContext& context);

 private:
  struct Receiver {
    int edge = -1;
    Versions wants = Versions::each;
    int64_t every = 0;
  };
  static bool wants(const Receiver& receiver, int64_t version);
  void record(RoleContext& context);

  std::vector<Receiver> receivers_;
  std::shared_ptr<const WeightsMessage> current_;
  int64_t sent_ = -1;
};

}  // namespace r1
