#include "actors/received_weights.h"

#include <fmt/format.h>

#include "base/error.h"

namespace r1 {

std::shared_ptr<const WeightSet> received_weights(const WeightsMessage& m, const WeightSet* held, int64_t held_version,
                                                  Device& device) {
  if (m.delta.full() || (held != nullptr && m.delta.from == held_version))
    return apply_delta(m.delta.full() ? nullptr : held, m.delta, m.delta.full() ? *m.config : held->config(), device, m.dtype);
  if (!m.weights)
    throw failure(fmt::format("version {} of the weights is the difference to version {}, and version {} is held", m.version,
                              m.delta.from, held_version));
  if (const Hash128 hash = m.weights->hash(); hash != m.delta.hash)
    throw failure(fmt::format("weights of version {} hash to {}, published was {}", m.version, hash.hex(), m.delta.hash.hex()));
  return m.weights;
}

}  // namespace r1
