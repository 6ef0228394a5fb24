// Time, as an interface: real in a run, virtual in tests and simulations. Nobody else calls now().
#pragma once

#include <atomic>
#include <cstdint>

namespace r1 {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t now_ns() const = 0;  // monotonic; the origin is arbitrary
  double now_s() const { return static_cast<double>(now_ns()) * 1e-9; }
};

// CLOCK_MONOTONIC. Any thread.
class SystemClock final : public Clock {
 public:
  int64_t now_ns() const override;
};

// Stands still until told. Any thread.
class VirtualClock final : public Clock {
 public:
  int64_t now_ns() const override { return now_.load(); }
  void advance_ns(int64_t ns) { now_ += ns; }
  void set_ns(int64_t ns) { now_ = ns; }

 private:
  std::atomic<int64_t> now_{0};
};

// Seconds since 1970 (for logs and file stamps only: nothing that steers may depend on it).
double wall_clock_s();
// CPU time of the calling thread, in ns.
int64_t thread_cpu_ns();

}  // namespace r1
