#include "runtime/conductor/local_hosts.h"

#include <utility>

namespace r1 {

LocalHosts::LocalHosts(StepWorld& world, LocalLinks links)
    : world_(world), links_(std::move(links)), io_(world.executor({0, 0, 0}, "")) {}

LocalHosts::~LocalHosts() { world_.forget(0); }

std::unique_ptr<StageHost> LocalHosts::start(HostServices services, const RoleFactory& factory) {
  return std::make_unique<LocalStage>(world_, services, factory, links_, [this] { wake(); });
}

void LocalHosts::wait(double at_most_s) {
  const int64_t until_ns = world_.clock().now_ns() + static_cast<int64_t>(at_most_s * 1e9);
  while (!std::exchange(woken_, false))
    if (!world_.step(until_ns)) return;
}

}  // namespace r1
