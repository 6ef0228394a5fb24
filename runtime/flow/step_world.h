// StepWorld: one thread and virtual time. What is to happen lies in lanes - the messages of one sender to one receiver, the
// jobs of one executor - each in order; which lane moves next is a pure function of the seed. Not a transport and not a
// scheduler of roles: LocalStage is. Nothing in it sleeps or looks at a real clock. Thread rule: one thread.
#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/rng.h"
#include "runtime/flow/executor.h"

namespace r1 {

struct WorldOptions {
  uint64_t seed = 0;
  bool random_order = true;    // false: the oldest step first
  int64_t message_ns = 1'000;  // virtual time that a step takes
  // Virtual time between a job's submission (or the end of the executor's job before it) and its run; absent: none. `name`: of
  // the executor.
  std::function<int64_t(const std::string& name)> job_ns;
  // Whether the jobs of such an executor may wait for others (runtime/flow/step_threads.h); absent: none does.
  std::function<bool(const std::string& name)> may_wait;
  std::function<void()> after_step;  // looks at invariants
};

class StepThreads;

class StepWorld {
 public:
  static constexpr int64_t kForever = std::numeric_limits<int64_t>::max();

  explicit StepWorld(WorldOptions options);
  ~StepWorld();

  struct Lane {
    int64_t life = 0;  // of a stage's incarnation; 0: of the world itself
    int from = 0, to = 0;
    auto operator<=>(const Lane&) const = default;
  };
  int64_t new_life() { return ++lives_; }

  void push(Lane lane, int64_t ready_ns, std::function<void()> run);
  // Runs one step that is ready at `until_ns` or before, after time has passed to it. False when there is none: then it is
  // `until_ns`, unless that is kForever.
  bool step(int64_t until_ns = kForever);
  // Runs the first step of the lane out of turn, if there is one, whether or not it is ready.
  void force(Lane lane);
  // What is left of a life never happens, and a job of it that waits ends.
  void forget(int64_t life);
  // Nothing of a life happens while it is held.
  void hold(int64_t life, bool held);

  // Jobs in order, each after its virtual time. The world outlives it. Destroying it drops nothing: forget() does.
  std::unique_ptr<Executor> executor(Lane lane, const std::string& name);

  VirtualClock& clock() { return clock_; }
  Rng& rng() { return rng_; }
  int64_t steps() const { return steps_; }

 private:
  class StepExecutor;
  struct Step {
    int64_t ready_ns = 0;
    int64_t order = 0;
    std::function<void()> run;
  };

  WorldOptions options_;
  VirtualClock clock_;
  Rng rng_;
  std::map<Lane, std::deque<Step>> lanes_;
  std::set<int64_t> held_;
  std::unique_ptr<StepThreads> threads_;  // where a job may wait
  int64_t pushed_ = 0, lives_ = 0, steps_ = 0;
};

}  // namespace r1
