// How a thread waits for what another one does, and how threads are made whose work waits: by condition variables and threads
// of the system, or by turns - one thread at a time, in an order and a time that a simulation chooses (runtime/flow/
// step_threads.h). So what waits in a run waits in a simulation too, by the same lines. Where nobody says otherwise there are
// no turns. Thread rule: as std::condition_variable and std::thread; which turns count is a matter of the calling thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <mutex>
#include <thread>

#include "base/stop.h"

namespace r1 {

// Who gives turns.
class Turns {
 public:
  virtual ~Turns() = default;
  virtual double now_s() const = 0;
  // The calling thread has no turn until wake(condition), or until so many seconds have passed.
  virtual void wait(const void* condition, double at_most_s) = 0;
  virtual void wake(const void* condition) = 0;
  // A thread that gets turns as the calling one does; its number.
  virtual int64_t begin(std::function<void()> body) = 0;
  virtual void join(int64_t thread) = 0;
};
Turns* current_turns();  // of this thread; null: none, as in a run

class TurnsScope {
 public:
  explicit TurnsScope(Turns* turns);
  ~TurnsScope();
  TurnsScope(const TurnsScope&) = delete;
  TurnsScope& operator=(const TurnsScope&) = delete;

 private:
  Turns* before_;
};

// A condition variable. The lock is let go meanwhile, as there.
class Condition {
 public:
  static constexpr double kForEver = std::numeric_limits<double>::infinity();

  template <class There>
  void wait(std::unique_lock<std::mutex>& lock, There there) {
    if (Turns* turns = current_turns()) {
      while (!there()) give_turn(*turns, lock, kForEver);
    } else {
      real_.wait(lock, there);
    }
  }
  // False: it is not there, and the time is over. Looks for a stop of this thread meanwhile (base/stop.h), whose Stopped it
  // throws.
  template <class There>
  bool wait_or_stop(std::unique_lock<std::mutex>& lock, double at_most_s, There there) {
    if (Turns* turns = current_turns()) {
      for (const double end_s = turns->now_s() + at_most_s; !there();) {
        check_stop();
        if (turns->now_s() >= end_s) return false;
        give_turn(*turns, lock, end_s - turns->now_s());
      }
      return true;
    }
    const auto begin = std::chrono::steady_clock::now();
    while (!real_.wait_for(lock, kLooksForAStop, there)) {
      if (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() > at_most_s) return false;
      check_stop();
    }
    return true;
  }
  void notify_all() {
    real_.notify_all();
    if (Turns* turns = turns_) turns->wake(this);
  }

 private:
  static constexpr std::chrono::milliseconds kLooksForAStop{50};
  void give_turn(Turns& turns, std::unique_lock<std::mutex>& lock, double at_most_s) {
    turns_ = &turns;
    lock.unlock();
    turns.wait(this, at_most_s);
    lock.lock();
  }

  std::condition_variable real_;
  std::atomic<Turns*> turns_{nullptr};  // of who waited here
};

// A thread that is joined at its end.
class WaitingThread {
 public:
  explicit WaitingThread(std::function<void()> body);
  ~WaitingThread();
  WaitingThread(const WaitingThread&) = delete;
  WaitingThread& operator=(const WaitingThread&) = delete;

 private:
  Turns* const turns_;
  int64_t number_ = 0;
  std::thread real_;
};

}  // namespace r1
