#include "runtime/flow/step_threads.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <semaphore>
#include <thread>
#include <vector>

#include "base/error.h"

namespace r1 {
namespace {

constexpr int kTurns = -20, kTimes = -21;  // lanes

}  // namespace

struct StepThreads::Thread {
  int64_t number = 0, life = 0;
  std::binary_semaphore go{0}, back{0};
  const void* waits_for = nullptr;  // null: for nothing
  bool has_time = false;            // its wait has an end, `until_ns`
  int64_t until_ns = 0;
  bool ready = false, over = false;
  std::thread real;
};

StepThreads::StepThreads(StepWorld& world) : world_(world), life_(world.new_life()) {}

StepThreads::~StepThreads() {
  for (const auto& [number, thread] : threads_) R1_CHECK(thread->over, "a thread of a world outlives it");
  for (const auto& [number, thread] : threads_)
    if (thread->real.joinable()) thread->real.join();
}

double StepThreads::now_s() const { return world_.clock().now_s(); }

int64_t StepThreads::begin(std::function<void()> body) {
  R1_CHECK(at_work_ != nullptr, "the world's own thread begins another one");
  return begin(at_work_->life, std::move(body));
}

int64_t StepThreads::begin(int64_t life, std::function<void()> body) {
  auto made = std::make_unique<Thread>();
  Thread& thread = *made;
  thread.number = ++numbers_;
  thread.life = life;
  threads_[thread.number] = std::move(made);
  thread.real = std::thread([this, &thread, body = std::move(body)] {
    thread.go.acquire();
    const TurnsScope scope(this);
    body();
    thread.over = true;
    wake(&thread);
    thread.back.release();
  });
  ready(thread);
  return thread.number;
}

void StepThreads::ready(Thread& thread) {
  if (std::exchange(thread.ready, true)) return;
  world_.push({thread.life, kTurns, static_cast<int>(thread.number)}, 0, [this, number = thread.number] {
    const auto at = threads_.find(number);
    if (at != threads_.end() && at->second->ready) turn(*at->second);
  });
}

void StepThreads::turn(Thread& thread) {
  R1_CHECK(at_work_ == nullptr, "a turn inside a turn");
  thread.ready = false;
  at_work_ = &thread;
  thread.go.release();
  thread.back.acquire();
  at_work_ = nullptr;
}

void StepThreads::wait(const void* condition, double at_most_s) {
  R1_CHECK(at_work_ != nullptr, "the world's own thread waits");
  Thread& self = *at_work_;
  self.waits_for = condition;
  self.has_time = at_most_s < 1e9;
  if (self.has_time) {
    self.until_ns = world_.clock().now_ns() + std::max<int64_t>(1, static_cast<int64_t>(at_most_s * 1e9));
    times_.insert({self.until_ns, self.number});
    look_at_times();
  }
  self.back.release();
  self.go.acquire();
  self.waits_for = nullptr;
  if (self.has_time) times_.erase({self.until_ns, self.number});
}

void StepThreads::wake(const void* condition) {
  for (const auto& [number, thread] : threads_)
    if (thread->waits_for == condition) ready(*thread);
}

void StepThreads::look_at_times() {
  if (times_.empty() || times_.begin()->first >= next_look_ns_) return;
  next_look_ns_ = times_.begin()->first;
  world_.push({life_, kTimes, static_cast<int>(++looks_ % 1'000'000)}, next_look_ns_, [this, at_ns = next_look_ns_] {
    if (next_look_ns_ == at_ns) next_look_ns_ = StepWorld::kForever;
    time_is_over();
    look_at_times();
  });
}

void StepThreads::time_is_over() {
  const int64_t now_ns = world_.clock().now_ns();
  for (auto at = times_.begin(); at != times_.end() && at->first <= now_ns; at = times_.erase(at))
    ready(*threads_.at(at->second));
}

StepThreads::Thread* StepThreads::ready_one(int64_t life) const {
  for (const auto& [number, thread] : threads_)
    if (thread->life == life && thread->ready && !thread->over) return thread.get();
  return nullptr;
}

// Those of one life, whoever is ready, until `done`.
void StepThreads::drive(int64_t life, const std::function<bool()>& done) {
  while (!done()) {
    Thread* const next = ready_one(life);
    R1_CHECK(next != nullptr, "a thread of a world waits for what never comes");
    turn(*next);
  }
}

void StepThreads::join(int64_t number) {
  const auto at = threads_.find(number);
  Thread& thread = *at->second;
  if (at_work_ != nullptr)
    while (!thread.over) wait(&thread, Condition::kForEver);
  else
    drive(thread.life, [&] { return thread.over; });
  thread.real.join();
  threads_.erase(at);
}

void StepThreads::end(int64_t life) {
  for (const auto& [number, thread] : threads_)
    if (thread->life == life) thread->ready = true;
  while (Thread* const next = ready_one(life)) turn(*next);  // which may join others: they are gone then
}

// ---- jobs

class StepThreads::Jobs final : public Executor {
 public:
  Jobs(StepThreads& threads, StepWorld::Lane lane, std::function<int64_t()> cost_ns)
      : threads_(threads), lane_(lane), cost_ns_(std::move(cost_ns)), state_(std::make_shared<State>()) {
    number_ = threads_.begin(lane.life, [this] { loop(); });
  }
  ~Jobs() override {
    state_->closing = true;
    state_->jobs.clear();
    threads_.end(lane_.life);
    threads_.join(number_);
  }
  void submit(Job job) override {
    free_ns_ = std::max(free_ns_, threads_.world_.clock().now_ns()) + cost_ns_();
    threads_.world_.push(lane_, free_ns_, [this, state = state_, held = std::make_shared<Job>(std::move(job))] {
      if (state->closing) return;
      state->jobs.push_back(std::move(*held));
      threads_.wake(state.get());
    });
  }

 private:
  struct State {
    std::deque<Job> jobs;
    bool closing = false;
  };
  void loop() {
    for (;;) {
      while (state_->jobs.empty() && !state_->closing) threads_.wait(state_.get(), Condition::kForEver);
      if (state_->closing) return;
      Job job = std::move(state_->jobs.front());
      state_->jobs.pop_front();
      run_job(job);
    }
  }

  StepThreads& threads_;
  const StepWorld::Lane lane_;
  const std::function<int64_t()> cost_ns_;
  const std::shared_ptr<State> state_;
  int64_t number_ = 0, free_ns_ = 0;
};

std::unique_ptr<Executor> StepThreads::executor(StepWorld::Lane lane, std::function<int64_t()> cost_ns) {
  return std::make_unique<Jobs>(*this, lane, std::move(cost_ns));
}

}  // namespace r1
