#include "runtime/flow/local_scheduler.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/flow/what_of.h"
#include "runtime/store/run_store.h"

namespace r1 {
namespace {

constexpr int kJobs = -10;  // lane (kJobs, node): jobs of a node's executor; (kJobs, -1): of the shared I/O executor

}  // namespace

class LocalScheduler::StepExecutor final : public Executor {
 public:
  StepExecutor(LocalScheduler& scheduler, int node) : scheduler_(scheduler), node_(node) {}
  void submit(Job job) override {
    const LocalOptions& options = scheduler_.options_;
    int64_t cost = 0;
    if (options.job_ns && node_ >= 0) cost = options.job_ns(scheduler_.graph_.nodes[node_].id);
    free_ns_ = std::max(free_ns_, scheduler_.clock_.now_ns()) + cost;
    scheduler_.push({kJobs, node_}, free_ns_, [job = std::move(job)] {
      std::exception_ptr error;
      try {
        job.work();
      } catch (...) {
        error = std::current_exception();
      }
      job.finished(error);
    });
  }

 private:
  LocalScheduler& scheduler_;
  int node_;
  int64_t free_ns_ = 0;
};

LocalScheduler::LocalScheduler(const GraphView& graph, const std::string& stage, RunStore& store, const RoleFactory& factory,
                               LocalOptions options)
    : graph_(graph),
      stage_(graph.stage(stage)),
      options_(std::move(options)),
      waits_(clock_),
      times_(clock_),
      faults_(options_.faults),
      rng_(options_.seed, "local_scheduler") {
  if (stage_ == nullptr) throw bad_input(fmt::format("the graph has no stage {}", stage));
  HostServices services;
  services.graph = &graph_;
  services.stage = stage_;
  services.stage_id = store.ensure_stage(stage);
  services.store = &store;
  services.waits = &waits_;
  services.times = &times_;
  services.clock = &clock_;
  services.faults = &faults_;
  services.transport = this;
  io_ = std::make_unique<StepExecutor>(*this, -1);
  waits_.progressed(stage);
  for (const int node : stage_->nodes) {
    if (graph_.nodes[node].artifact) continue;
    executors_[node] = std::make_unique<StepExecutor>(*this, node);
    hosts_[node] = std::make_unique<RoleHost>(services, node, factory(graph_, graph_.nodes[node]), *executors_[node], *io_);
  }
  for (auto& [node, host] : hosts_) push({kFromConductor, node}, 0, [h = host.get()] { h->start(); });
}

LocalScheduler::~LocalScheduler() { lanes_.clear(); }

void LocalScheduler::push(Lane lane, int64_t ready_ns, std::function<void()> run) {
  lanes_[lane].push_back({ready_ns, pushed_++, std::move(run)});
}

bool LocalScheduler::step() {
  std::vector<std::map<Lane, std::deque<Step>>::iterator> ready;
  int64_t soonest = -1;
  for (auto at = lanes_.begin(); at != lanes_.end();) {
    if (at->second.empty()) {
      at = lanes_.erase(at);
      continue;
    }
    const int64_t ready_ns = at->second.front().ready_ns;
    soonest = soonest < 0 ? ready_ns : std::min(soonest, ready_ns);
    if (ready_ns <= clock_.now_ns()) ready.push_back(at);
    ++at;
  }
  if (soonest < 0) return false;
  if (ready.empty()) {
    clock_.set_ns(soonest);
    return step();
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
  ++result_.steps;
  if (options_.after_step) options_.after_step();
  return true;
}

const LocalScheduler::Result& LocalScheduler::run(int64_t max_steps) {
  while (result_.outcome == Outcome::running && max_steps-- > 0) {
    if (finished_ == hosts_.size()) {
      result_.outcome = Outcome::finished;
    } else if (!step()) {
      // Nothing is left that could move: virtual time passes until every deadline is over.
      clock_.advance_ns(static_cast<int64_t>((std::max(options_.stall_s, options_.job_stall_s) + 1) * 1e9));
      result_.outcome = Outcome::stalled;
      result_.report = waits_.stall_report(stage_->name, options_.stall_s, options_.job_stall_s);
      for (auto& [node, host] : hosts_)
        if (!host->finished()) result_.report += fmt::format("\n  not finished: {}", graph_.nodes[node].id);
    }
  }
  return result_;
}

RoleHost& LocalScheduler::host(const std::string& node) {
  for (auto& [index, host] : hosts_)
    if (graph_.nodes[index].id == node) return *host;
  throw bad_input(fmt::format("stage {} has no role {}", stage_->name, node));
}

Role& LocalScheduler::role(const std::string& node) { return host(node).role(); }
bool LocalScheduler::role_finished(const std::string& node) { return host(node).finished(); }

std::string LocalScheduler::progress_of(const std::string& node) const {
  for (const auto& [index, text] : progress_)
    if (graph_.nodes[index].id == node) return text;
  return {};
}

void LocalScheduler::post(int from, int to, Envelope envelope) {
  if (options_.codec != nullptr) {
    PayloadPtr sent = envelope.payload;
    envelope = decode_envelope(encode_envelope(envelope, *options_.codec, last_sent_[envelope.edge].get()), *options_.codec);
    if (sent) last_sent_[envelope.edge] = std::move(sent);
  }
  push({from, to}, 0,
       [h = hosts_.at(to).get(), e = std::make_shared<Envelope>(std::move(envelope))] { h->handle(std::move(*e)); });
}

void LocalScheduler::run(int from, int on, std::function<void()> call) {
  push({from, on}, 0, [h = hosts_.at(on).get(), call = std::move(call)] { h->run(call); });
}

void LocalScheduler::finished(int) { ++finished_; }

void LocalScheduler::failed(int node, std::exception_ptr error) {
  if (result_.outcome != Outcome::running) return;
  result_.outcome = Outcome::failed;
  result_.error = error;
  result_.report = fmt::format("{}: {}", graph_.nodes[node].id, what_of(error));
}

void LocalScheduler::end_stage(int) {
  for (auto& [node, host] : hosts_) post(kFromConductor, node, {});
}

void LocalScheduler::progress(int node, const std::string& text) { progress_[node] = text; }

}  // namespace r1
