#include "runtime/flow/engine_times.h"

#include <fmt/format.h>

#include "base/error.h"

namespace r1 {

void EngineTimes::advance() const {
  const int64_t now = clock_.now_ns(), passed = now - last_ns_;
  last_ns_ = now;
  bool any = false, generator = false, trainer = false;
  for (const auto& [engine, jobs] : active_) {
    if (jobs == 0) continue;
    any = true;
    busy_ns_[engine] += passed;
    generator |= engine == "generator";
    trainer |= engine == "trainer";
  }
  if (generator && trainer) overlap_ns_ += passed;
  if (!any) idle_ns_ += passed;
}

void EngineTimes::begin(const std::string& engine) {
  std::lock_guard lock(mutex_);
  advance();
  ++active_[engine];
}

void EngineTimes::end(const std::string& engine) {
  std::lock_guard lock(mutex_);
  advance();
  R1_CHECK(active_[engine] > 0, fmt::format("engine {} ended a job that never began", engine));
  --active_[engine];
}

std::map<std::string, double> EngineTimes::engine_s() const {
  std::lock_guard lock(mutex_);
  advance();
  std::map<std::string, double> seconds;
  for (const auto& [engine, ns] : busy_ns_) seconds[engine] = static_cast<double>(ns) * 1e-9;
  return seconds;
}

double EngineTimes::overlap_s() const {
  std::lock_guard lock(mutex_);
  advance();
  return static_cast<double>(overlap_ns_) * 1e-9;
}

double EngineTimes::idle_s() const {
  std::lock_guard lock(mutex_);
  advance();
  return static_cast<double>(idle_ns_) * 1e-9;
}

}  // namespace r1
