// What long work does between its units - micro-batches, decode steps, examples, pieces of a file: it looks for a stop, so that
// Ctrl-C ends it within moments, and says that it moves, so that work which takes days is told from work that hangs. Whoever
// starts the work says which flag counts and who is told (a role's host, for the jobs of its stage); work that nobody gave a
// flag never stops. Not a cancellation of what has been done: the unit at hand is finished, the rest is not begun. Thread rule:
// both count for the thread of their StopScope; work handed to other threads takes current_stop() with it.
#pragma once

#include <atomic>
#include <functional>

namespace r1 {

// What check_stop() throws. Not a std::exception: nobody who handles errors takes it for one.
struct Stopped {};

// Who looks after work. `unit` is called behind every unit, by several threads at once where several work.
struct StopSource {
  const std::atomic<bool>* flag = nullptr;      // null: it never stops
  const std::function<void()>* unit = nullptr;  // null: nobody is told
};
StopSource current_stop();

class StopScope {
 public:
  explicit StopScope(StopSource source);
  explicit StopScope(const std::atomic<bool>* flag) : StopScope(StopSource{flag, nullptr}) {}
  ~StopScope();
  StopScope(const StopScope&) = delete;
  StopScope& operator=(const StopScope&) = delete;

 private:
  const StopSource before_;
};

// Throws Stopped when the flag of this thread is set. For waits, which are no work: who waits for ever hangs.
void check_stop();
// The same between two units of work: one more is done.
void next_unit();

}  // namespace r1
