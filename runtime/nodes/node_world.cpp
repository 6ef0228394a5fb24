#include "runtime/nodes/node_world.h"

#include <chrono>
#include <utility>

namespace r1 {

NodeLoop::~NodeLoop() {
  for (std::thread& thread : ending_) thread.join();
}

void NodeLoop::post(std::function<void()> call) {
  {
    const std::lock_guard lock(mutex_);
    now_.push_back(std::move(call));
  }
  changed_.notify_one();
}

void NodeLoop::post_after(double seconds, std::function<void()> call) {
  {
    const std::lock_guard lock(mutex_);
    due_.emplace(clock_.now_s() + seconds, std::move(call));
  }
  changed_.notify_one();
}

void NodeLoop::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_one();
}

void NodeLoop::run() {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    while (!due_.empty() && due_.begin()->first <= clock_.now_s()) now_.push_back(due_.extract(due_.begin()).mapped());
    if (now_.empty()) {
      const double wait_s = due_.empty() ? 1 : due_.begin()->first - clock_.now_s();
      changed_.wait_for(lock, std::chrono::duration<double>(wait_s));
      continue;
    }
    std::vector<std::function<void()>> calls = std::exchange(now_, {});
    lock.unlock();
    for (const auto& call : calls) call();
    calls.clear();
    lock.lock();
  }
}

void NodeLoop::end(std::vector<std::unique_ptr<Executor>> executors, std::function<void()> then) {
  auto held = std::make_shared<std::vector<std::unique_ptr<Executor>>>(std::move(executors));
  ending_.emplace_back([this, held, then = std::move(then)] {
    held->clear();
    post(then);
  });
}

}  // namespace r1
