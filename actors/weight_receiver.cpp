#include "actors/weight_receiver.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"

namespace r1 {

namespace {

std::shared_ptr<const WeightSet> checked(std::shared_ptr<const WeightSet> weights, const WeightsMessage& m) {
  if (const Hash128 hash = weights->hash(); hash != m.hash)
    throw failure(fmt::format("weights of version {} hash to {}, published was {}", m.version, hash.hex(), m.hash.hex()));
  return weights;
}

}  // namespace

void WeightReceiver::hold(std::shared_ptr<const WeightSet> weights, int64_t version) {
  held_ = std::move(weights);
  version_ = version;
}

const std::shared_ptr<const WeightSet>& WeightReceiver::take(const WeightsMessage& message) {
  hold(result_of(message), message.version);
  return held_;
}

std::shared_ptr<const WeightSet> WeightReceiver::result_of(const WeightsMessage& m) const {
  if (held_ && version_ == m.version) return checked(held_, m);
  if (m.weights) return checked(m.weights, m);
  if (m.delta.full()) return apply_delta(nullptr, m.delta, *m.config, *device_, m.dtype);
  if (held_ && version_ == m.delta.from) return apply_delta(held_.get(), m.delta, held_->config(), *device_, m.dtype);
  throw failure(fmt::format("version {} of the weights is the difference to version {}, and version {} is held", m.version,
                            m.delta.from, version_));
}

}  // namespace r1
