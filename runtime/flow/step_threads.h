// Threads of a StepWorld: what waits there - for a word of another process, for another thread - does so by giving its turn
// away. They are threads of the system, and one of them, or the thread of the world, is at work at a time; which one is next is
// a step of the world, so what happens is a pure function of the seed. Waits take virtual time. Not used in runs.
// Thread rule: whoever has the turn.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "base/turns.h"
#include "runtime/flow/executor.h"
#include "runtime/flow/step_world.h"

namespace r1 {

class StepThreads final : public Turns {
 public:
  explicit StepThreads(StepWorld& world);
  ~StepThreads() override;

  // Jobs in order on a thread of their own, each from a step of `lane` on; a job that waits holds up the next one. What may
  // wait wants this one.
  std::unique_ptr<Executor> executor(StepWorld::Lane lane, std::function<int64_t()> cost_ns);
  // What is at work in that life comes to its end now, without a step: its waits are over at once, and look for a stop. A job
  // that nothing stops then is a CHECK.
  void end(int64_t life);

  double now_s() const override;
  void wait(const void* condition, double at_most_s) override;
  void wake(const void* condition) override;
  int64_t begin(std::function<void()> body) override;
  void join(int64_t thread) override;

 private:
  struct Thread;
  class Jobs;
  int64_t begin(int64_t life, std::function<void()> body);
  void turn(Thread& thread);  // of the world's thread: until it waits or is over
  void ready(Thread& thread);
  Thread* ready_one(int64_t life) const;  // null: none is
  void drive(int64_t life, const std::function<bool()>& done);
  void look_at_times();
  void time_is_over();

  StepWorld& world_;
  std::map<int64_t, std::unique_ptr<Thread>> threads_;
  Thread* at_work_ = nullptr;                    // null: the world's own
  std::set<std::pair<int64_t, int64_t>> times_;  // when a wait is over, and whose
  int64_t next_look_ns_ = StepWorld::kForever;
  int64_t numbers_ = 0, looks_ = 0;
  const int64_t life_;
};

}  // namespace r1
