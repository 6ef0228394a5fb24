// What a role holds of its stage's weights, and how it comes to hold the next version: the values that the message's hash
// names, whichever way they came. For every role that is fed with weights. Not how versions are sent (actors/publisher.h) nor
// coded (models/version_delta.h), nor what is done with them. Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>

#include "actors/messages.h"

namespace r1 {

class WeightReceiver {
 public:
  // `device`: that the weights are on; outlives this.
  explicit WeightReceiver(Device& device) : device_(&device) {}

  // Null before anything is held; version() is -1 then, and for weights that are no version of the stage's.
  const std::shared_ptr<const WeightSet>& held() const { return held_; }
  int64_t version() const { return version_; }
  // What the role starts from.
  void hold(std::shared_ptr<const WeightSet> weights, int64_t version);

  // The message's version is held, and returned: the set itself inside a process; from another one the whole set, or the
  // difference applied to a shadow copy of what is held. Throws failure when the result does not hash to what was published,
  // and for a difference to weights that are not held; then all stays as it was.
  const std::shared_ptr<const WeightSet>& take(const WeightsMessage& message);

 private:
  std::shared_ptr<const WeightSet> result_of(const WeightsMessage& message) const;

  Device* device_;
  std::shared_ptr<const WeightSet> held_;
  int64_t version_ = -1;
};

}  // namespace r1
