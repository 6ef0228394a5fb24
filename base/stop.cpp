#include "base/stop.h"

#include <utility>

namespace r1 {
namespace {
thread_local StopSource stop_of_thread;
}  // namespace

StopSource current_stop() { return stop_of_thread; }

StopScope::StopScope(StopSource source) : before_(std::exchange(stop_of_thread, source)) {}
StopScope::~StopScope() { stop_of_thread = before_; }

void check_stop() {
  if (stop_of_thread.flag != nullptr && stop_of_thread.flag->load(std::memory_order_relaxed)) throw Stopped{};
}

void next_unit() {
  if (stop_of_thread.unit != nullptr) (*stop_of_thread.unit)();
  check_stop();
}

}  // namespace r1
