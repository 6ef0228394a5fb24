#include "rewards/worker_pool.h"

#include <fmt/format.h>
#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace r1 {
namespace {

class WorkerPool final : public ScoreSource {
 public:
  using Make = std::function<std::unique_ptr<ScoreWorker>(int, const std::atomic<bool>&)>;
  WorkerPool(std::string title, int workers, Make make) : title_(std::move(title)), make_(std::move(make)) {
    try {
      for (int n = 1; n <= workers; ++n) threads_.emplace_back([this, n] { work(n); });
    } catch (...) {
      close();
      throw;
    }
    for (std::thread& t : threads_) ::pthread_setname_np(t.native_handle(), "reward");
  }
  ~WorkerPool() override { close(); }

  void submit(std::vector<ScoreItemPtr> items, Done done) override {
    const auto shared = std::make_shared<Done>(std::move(done));
    {
      std::lock_guard lock(mutex_);
      for (size_t i = 0; i < items.size(); ++i) jobs_.push_back({std::move(items[i]), i, shared});
    }
    wake_.notify_all();
  }

 private:
  struct Job {
    ScoreItemPtr item;
    size_t index;
    std::shared_ptr<Done> done;
  };

  void close() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& t : threads_) t.join();
    threads_.clear();
  }

  void work(int number) {
    std::unique_ptr<ScoreWorker> worker;
    bool first = true;  // a program takes its time to start: it does so before it is needed
    while (true) {
      if (first) make(worker, number);
      first = false;
      Job job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
        if (stop_) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      ScoreResult result = score(worker, number, *job.item);
      if (stop_) return;
      (*job.done)(job.index, std::move(result));
    }
  }

  // The problem, or "".
  std::string make(std::unique_ptr<ScoreWorker>& worker, int number) {
    try {
      worker = make_(number, stop_);
    } catch (const std::exception& e) {
      return e.what();
    }
    return "";
  }

  ScoreResult score(std::unique_ptr<ScoreWorker>& worker, int number, const ScoreItem& item) {
    bool last_try = false;
    {
      std::lock_guard lock(mutex_);
      last_try = failures_ >= kGiveUp;
      if (last_try && !ever_answered_)
        return {{}, {}, fmt::format("'{}' has failed {} times and never answered: {}", title_, failures_, last_error_)};
    }
    ScoreWorker::Outcome outcome;
    if (!worker) outcome.result.error = make(worker, number);
    if (worker) try {
        outcome = worker->ask(item, stop_, last_try);
      } catch (const std::exception& e) {
        outcome.result.error = e.what();
      }
    if (!outcome.result.error.empty())
      outcome.result.error = fmt::format("'{}' gives no score: {}", title_, outcome.result.error);
    std::lock_guard lock(mutex_);
    if (outcome.answered) {
      ever_answered_ = true;
      failures_ = 0;
    } else {
      ++failures_;
      last_error_ = outcome.result.error;
    }
    return outcome.result;
  }

  std::string title_;
  Make make_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  std::atomic<bool> stop_{false};
  int64_t failures_ = 0;  // in a row
  bool ever_answered_ = false;
  std::string last_error_;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<ScoreSource> make_worker_pool(
    const std::string& title, int workers,
    std::function<std::unique_ptr<ScoreWorker>(int number, const std::atomic<bool>& stop)> make) {
  return std::make_unique<WorkerPool>(title, workers, std::move(make));
}

void sleep_unless(const std::atomic<bool>& stop, double seconds) {
  for (double slept = 0; slept < seconds && !stop; slept += 0.02) std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

}  // namespace r1
