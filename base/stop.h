// A stop that long work looks at between its units - micro-batches, decode steps, examples, pieces of a file - so that Ctrl-C
// ends it within moments. Whoever starts the work says which flag counts (a role's host, for the jobs of its stage); work that
// nobody gave a flag never stops. Not a cancellation of what has been done: the unit at hand is finished, the rest is not
// begun. Thread rule: the flag counts for the thread of its StopScope; work handed to other threads takes current_stop() with
// it.
#pragma once

#include <atomic>

namespace r1 {

// What check_stop() throws. Not a std::exception: nobody who handles errors takes it for one.
struct Stopped {};

// null: none.
const std::atomic<bool>* current_stop();

class StopScope {
 public:
  explicit StopScope(const std::atomic<bool>* flag);
  ~StopScope();
  StopScope(const StopScope&) = delete;
  StopScope& operator=(const StopScope&) = delete;

 private:
  const std::atomic<bool>* before_;
};

// Throws Stopped when the flag of this thread is set.
void check_stop();

}  // namespace r1
