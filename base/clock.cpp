#include "base/clock.h"

#include <ctime>

namespace r1 {

static int64_t read_ns(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

int64_t SystemClock::now_ns() const { return read_ns(CLOCK_MONOTONIC); }
double wall_clock_s() { return static_cast<double>(read_ns(CLOCK_REALTIME)) * 1e-9; }
int64_t thread_cpu_ns() { return read_ns(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace r1
