// The calling process on one core, as long as this lives: threads that take turns (runtime/flow/step_threads.h) hand them over
// within a microsecond there, and not when another core has time for it. Thread rule: before the threads are made.
#pragma once

#include <sched.h>

#include <cstdint>

namespace r1 {

class OneCore {
 public:
  // The number-th of those that the process may use, round again.
  explicit OneCore(int64_t number = 0);
  ~OneCore();
  OneCore(const OneCore&) = delete;
  OneCore& operator=(const OneCore&) = delete;

 private:
  cpu_set_t before_;
};

}  // namespace r1
