#include "base/stop.h"

namespace r1 {
namespace {
thread_local const std::atomic<bool>* stop_flag = nullptr;
}  // namespace

const std::atomic<bool>* current_stop() { return stop_flag; }

StopScope::StopScope(const std::atomic<bool>* flag) : before_(stop_flag) { stop_flag = flag; }
StopScope::~StopScope() { stop_flag = before_; }

void check_stop() {
  if (stop_flag != nullptr && stop_flag->load(std::memory_order_relaxed)) throw Stopped{};
}

}  // namespace r1
