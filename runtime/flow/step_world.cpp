#include "runtime/flow/step_world.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/flow/step_threads.h"

namespace r1 {

class StepWorld::StepExecutor final : public Executor {
 public:
  StepExecutor(StepWorld& world, Lane lane, std::string name) : world_(world), lane_(lane), name_(std::move(name)) {}
  void submit(Job job) override {
    const int64_t cost = world_.options_.job_ns ? world_.options_.job_ns(name_) : 0;
    free_ns_ = std::max(free_ns_, world_.clock_.now_ns()) + cost;
    world_.push(lane_, free_ns_, [job = std::move(job)]() mutable { run_job(job); });
  }

 private:
  StepWorld& world_;
  Lane lane_;
  std::string name_;
  int64_t free_ns_ = 0;
};

StepWorld::StepWorld(WorldOptions options) : options_(std::move(options)), rng_(options_.seed, "local_scheduler") {
  if (options_.may_wait) threads_ = std::make_unique<StepThreads>(*this);
}
StepWorld::~StepWorld() = default;

void StepWorld::push(Lane lane, int64_t ready_ns, std::function<void()> run) {
  lanes_[lane].push_back({ready_ns, pushed_++, std::move(run)});
}

bool StepWorld::step(int64_t until_ns) {
  std::vector<std::map<Lane, std::deque<Step>>::iterator> ready;
  int64_t soonest = kForever;
  for (auto at = lanes_.begin(); at != lanes_.end();) {
    if (at->second.empty()) {
      at = lanes_.erase(at);
      continue;
    }
    if (!held_.empty() && held_.count(at->first.life) != 0) {
      ++at;
      continue;
    }
    const int64_t ready_ns = at->second.front().ready_ns;
    soonest = std::min(soonest, ready_ns);
    if (ready_ns <= clock_.now_ns()) ready.push_back(at);
    ++at;
  }
  if (ready.empty()) {
    if (soonest > until_ns || soonest == kForever) {
      if (until_ns != kForever && until_ns > clock_.now_ns()) clock_.set_ns(until_ns);
      return false;
    }
    clock_.set_ns(soonest);
    return step(until_ns);
  }
  size_t chosen = 0;
  if (options_.random_order) {
    chosen = rng_.below(ready.size());
  } else {
    for (size_t i = 1; i < ready.size(); ++i)
      if (ready[i]->second.front().order < ready[chosen]->second.front().order) chosen = i;
  }
  Step next = std::move(ready[chosen]->second.front());
  ready[chosen]->second.pop_front();
  next.run();
  clock_.advance_ns(options_.message_ns);
  ++steps_;
  if (options_.after_step) options_.after_step();
  return true;
}

void StepWorld::force(Lane lane) {
  const auto at = lanes_.find(lane);
  if (at == lanes_.end() || at->second.empty()) return;
  const Step next = std::move(at->second.front());
  at->second.pop_front();
  next.run();
}

void StepWorld::forget(int64_t life) {
  lanes_.erase(lanes_.lower_bound({life, std::numeric_limits<int>::min(), std::numeric_limits<int>::min()}),
               lanes_.lower_bound({life + 1, std::numeric_limits<int>::min(), std::numeric_limits<int>::min()}));
  if (threads_) threads_->end(life);
}

void StepWorld::hold(int64_t life, bool held) {
  if (held)
    held_.insert(life);
  else
    held_.erase(life);
}

std::unique_ptr<Executor> StepWorld::executor(Lane lane, const std::string& name) {
  if (threads_ && options_.may_wait(name))
    return threads_->executor(lane, [this, name] { return options_.job_ns ? options_.job_ns(name) : 0; });
  return std::make_unique<StepExecutor>(*this, lane, name);
}

}  // namespace r1
