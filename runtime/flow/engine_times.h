// How long each engine of a stage was at work, how long generator and trainer were at work at the same time, and how long none.
// Counts intervals as they begin and end, so its size does not grow with the run.
// Thread rule: thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "base/clock.h"

namespace r1 {

class EngineTimes {
 public:
  explicit EngineTimes(const Clock& clock) : clock_(clock), last_ns_(clock.now_ns()) {}

  virtual ~EngineTimes() = default;
  virtual void begin(const std::string& engine);
  virtual void end(const std::string& engine);

  // Seconds in which at least one job of the engine ran, by engine, up to now.
  std::map<std::string, double> engine_s() const;
  // Seconds in which a "generator" and a "trainer" job ran at the same time, up to now.
  double overlap_s() const;
  // Seconds in which no job of any engine ran, up to now.
  double idle_s() const;

 private:
  void advance() const;  // caller holds mutex_

  const Clock& clock_;
  mutable std::mutex mutex_;
  mutable int64_t last_ns_;
  mutable std::map<std::string, int64_t> busy_ns_;
  mutable int64_t overlap_ns_ = 0, idle_ns_ = 0;
  std::map<std::string, int> active_;
};

}  // namespace r1
