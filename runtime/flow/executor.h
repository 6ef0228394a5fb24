// Where work runs: a thread of a role's own in a run, inline in tests. Completions come back through `post`.
// Thread rule: submit() from any thread.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>

namespace r1 {

struct Job {
  std::function<void()> work;
  // Called on the executor's thread after work, with its exception or null; must only hand the news over (post to an actor).
  std::function<void(std::exception_ptr)> finished;
};

// Does the job's work and hands on what it threw.
void run_job(Job& job);

class Executor {
 public:
  virtual ~Executor() = default;  // finishes the job at hand, drops the rest
  virtual void submit(Job job) = 0;
};

std::unique_ptr<Executor> make_thread_executor(const std::string& name);  // one thread, jobs in order; shows up as `name`
std::unique_ptr<Executor> make_inline_executor();                         // runs inside submit()
// A share of a single-threaded executor that outlives it: destroying the lane finishes its job at hand and drops its other jobs
// only.
std::unique_ptr<Executor> make_lane_executor(Executor& shared);

}  // namespace r1
