// Weights from one device to another, through the host. Not a conversion (copy_weights, convert_weights).
// Thread rule: as the functions of models/weights.h.
#pragma once

#include <memory>

#include "models/weights.h"

namespace r1 {

// The same bytes on `device`, finished. `from` has to be finished.
std::shared_ptr<WeightSet> copy_to_device(const WeightSet& from, Device& device);

}  // namespace r1
