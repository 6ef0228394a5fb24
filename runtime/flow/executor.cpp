#include "runtime/flow/executor.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace r1 {

void run_job(Job& job) {
  std::exception_ptr error;
  try {
    job.work();
  } catch (...) {
    error = std::current_exception();
  }
  job.finished(error);
}

namespace {

class ThreadExecutor final : public Executor {
 public:
  explicit ThreadExecutor(const std::string& name) {
    thread_ = std::thread([this] { loop(); });
    pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
  }

  ~ThreadExecutor() override {
    {
      std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  void submit(Job job) override {
    {
      std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    wake_.notify_one();
  }

 private:
  void loop() {
    while (true) {
      Job job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
        if (closing_) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      run_job(job);
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  bool closing_ = false;
  std::thread thread_;
};

class InlineExecutor final : public Executor {
 public:
  void submit(Job job) override { run_job(job); }
};

class LaneExecutor final : public Executor {
 public:
  explicit LaneExecutor(Executor& shared) : shared_(shared), state_(std::make_shared<State>()) {}

  ~LaneExecutor() override {
    std::unique_lock lock(state_->mutex);
    state_->closed = true;
    state_->idle.wait(lock, [this] { return !state_->running; });
  }

  void submit(Job job) override {
    auto held = std::make_shared<Job>(std::move(job));
    shared_.submit({[state = state_, held] {
                      {
                        std::lock_guard lock(state->mutex);
                        if (state->closed) return;
                        state->running = true;
                      }
                      run_job(*held);
                      // The captures go before the lane may end: they can point into what its owner destroys next.
                      *held = Job{};
                      std::lock_guard lock(state->mutex);
                      state->running = false;
                      state->idle.notify_all();
                    },
                    [](std::exception_ptr) {}});
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable idle;
    bool closed = false, running = false;
  };
  Executor& shared_;
  std::shared_ptr<State> state_;
};

}  // namespace

std::unique_ptr<Executor> make_thread_executor(const std::string& name) { return std::make_unique<ThreadExecutor>(name); }
std::unique_ptr<Executor> make_inline_executor() { return std::make_unique<InlineExecutor>(); }
std::unique_ptr<Executor> make_lane_executor(Executor& shared) { return std::make_unique<LaneExecutor>(shared); }

}  // namespace r1
