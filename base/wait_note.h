// What work that was given to a thread waits for, for whoever looks at a run that stands still. As with a stop (base/stop.h),
// whoever starts the work says who is told; work that nobody looks at is told nothing. What is said changes nothing.
// Thread rule: the sink counts for the thread of its WaitScope, and may be called by several at once; work handed to other
// threads takes current_waits() with it.
#pragma once

#include <functional>
#include <string>

namespace r1 {

inline constexpr double kSaysNothing_s = 1;  // a wait of less is not said

// `key`: who waits, "rank 2"; `reason`: for what, "" when it is over.
using WaitSink = std::function<void(const std::string& key, const std::string& reason)>;

// null: none.
const WaitSink* current_waits();

class WaitScope {
 public:
  explicit WaitScope(const WaitSink* sink);
  ~WaitScope();
  WaitScope(const WaitScope&) = delete;
  WaitScope& operator=(const WaitScope&) = delete;

 private:
  const WaitSink* before_;
};

// A wait that may be said, and is over with this.
class WaitNote {
 public:
  explicit WaitNote(std::string key) : key_(std::move(key)) {}
  ~WaitNote() { over(); }
  WaitNote(const WaitNote&) = delete;
  WaitNote& operator=(const WaitNote&) = delete;
  void say(const std::string& reason);
  void over();

 private:
  const std::string key_;
  bool said_ = false;
};

}  // namespace r1
