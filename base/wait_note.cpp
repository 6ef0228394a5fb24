#include "base/wait_note.h"

#include <utility>

namespace r1 {
namespace {

thread_local const WaitSink* waits_of_thread = nullptr;

}  // namespace

const WaitSink* current_waits() { return waits_of_thread; }

WaitScope::WaitScope(const WaitSink* sink) : before_(std::exchange(waits_of_thread, sink)) {}
WaitScope::~WaitScope() { waits_of_thread = before_; }

void WaitNote::say(const std::string& reason) {
  if (waits_of_thread == nullptr) return;
  said_ = true;
  (*waits_of_thread)(key_, reason);
}

void WaitNote::over() {
  if (std::exchange(said_, false) && waits_of_thread != nullptr) (*waits_of_thread)(key_, "");
}

}  // namespace r1
