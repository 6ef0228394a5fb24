// How a process of a run describes itself to the others. Thread rule: pure.
#pragma once

#include "kernels/device.h"
#include "runtime/net/link.h"

namespace r1 {

PeerHello node_hello(const Device& device, int threads);

}  // namespace r1
