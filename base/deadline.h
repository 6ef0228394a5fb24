// A deadline on the steps with which a process ends: one that hangs is named, and the process ends all the same. Whatever it
// had to write is then as after a kill, which every run survives. Not for work that may take its time. Thread rule: one thread
// calls; the deadline itself is a thread of its own.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "base/error.h"

namespace r1 {

class Deadline {
 public:
  Deadline() = default;
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  // From now on `what` runs, in place of the step before. If neither the next step nor done() comes within `limit_s`, a line
  // naming it goes to stderr and the log, and the process ends with `code`.
  void step(const std::string& what, double limit_s, ExitCode code);
  void done();

 private:
  void watch();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string what_;
  double limit_s_ = 0;
  ExitCode code_ = ExitCode::failed;
  uint64_t number_ = 0;  // of the step; 0: none yet
  bool running_ = false, closing_ = false;
  std::thread thread_;
};

}  // namespace r1
