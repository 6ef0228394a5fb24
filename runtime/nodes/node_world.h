// What a node runs in: one thread on which everything of it happens, executors, a clock. In r1-node real ones (NodeLoop), in
// tests and simulations a StepWorld. Thread rule: post() and post_after() from any thread, the rest from the node's.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "runtime/flow/executor.h"

namespace r1 {

class NodeWorld {
 public:
  virtual ~NodeWorld() = default;
  virtual void post(std::function<void()> call) = 0;  // in order, on the node's thread
  virtual void post_after(double seconds, std::function<void()> call) = 0;
  virtual std::unique_ptr<Executor> executor(const std::string& name) = 0;
  // Destroys them without holding up the node's thread; then `then` is posted.
  virtual void end(std::vector<std::unique_ptr<Executor>> executors, std::function<void()> then) = 0;
  virtual const Clock& clock() const = 0;
};

// Real threads and time.
class NodeLoop final : public NodeWorld {
 public:
  NodeLoop() = default;
  ~NodeLoop() override;  // joins what still ends

  void run();   // on the calling thread, until stop()
  void stop();  // any thread

  void post(std::function<void()> call) override;
  void post_after(double seconds, std::function<void()> call) override;
  std::unique_ptr<Executor> executor(const std::string& name) override { return make_thread_executor(name); }
  void end(std::vector<std::unique_ptr<Executor>> executors, std::function<void()> then) override;
  const Clock& clock() const override { return clock_; }

 private:
  SystemClock clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<double, std::function<void()>> due_;  // by time of the clock; equal times in order
  std::vector<std::function<void()>> now_;
  std::vector<std::thread> ending_;
  bool stopped_ = false;
};

}  // namespace r1
