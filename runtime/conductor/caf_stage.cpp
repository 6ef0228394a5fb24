#include "runtime/conductor/caf_stage.h"

#include <fmt/format.h>

#include <thread>

#include "base/deadline.h"

namespace r1 {
namespace {

caf::behavior role_actor(caf::event_based_actor*, RoleHost* host, const std::atomic<bool>* closed) {
  return {
      [=](caf::ok_atom) {
        if (!*closed) host->start();
      },
      [=](EnvelopePtr& envelope) {
        if (!*closed) host->handle(std::move(*envelope));
      },
      [=](CallPtr& call) {
        if (!*closed) host->run(std::move(*call));
      },
  };
}

struct CafConfig : caf::actor_system_config {
  CafConfig() {
    // Roles only route messages; the computing threads are the executors'.
    set("scheduler.max-threads", 2);
    set("scheduler.policy", caf::atom("sharing"));  // work stealing polls: 4% of two cores, and a context switch for every look
  }
};

class CafHosts final : public StageHosts {
 public:
  CafHosts() : system_(std::make_unique<caf::actor_system>(config_)), io_(make_thread_executor("r1-io")) {}

  const Clock& clock() const override { return clock_; }
  Executor& io() override { return *io_; }
  std::unique_ptr<StageHost> start(HostServices services, const RoleFactory& factory) override {
    return std::make_unique<CafStage>(*system_, services, factory, *io_, [this] { wake(); });
  }
  void wake() override {
    {
      const std::lock_guard lock(mutex_);
      woken_ = true;
    }
    changed_.notify_all();
  }
  void wait(double at_most_s) override {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::duration<double>(at_most_s), [this] { return std::exchange(woken_, false); });
  }
  void last_step(const std::string& what, double limit_s, ExitCode code) override { deadline_.step(what, limit_s, code); }
  void last_step_done() override { deadline_.done(); }
  void close_io() override { io_.reset(); }
  void close() override { system_.reset(); }

 private:
  SystemClock clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  CafConfig config_;
  std::unique_ptr<caf::actor_system> system_;
  std::unique_ptr<Executor> io_;
  Deadline deadline_;
};

}  // namespace

std::shared_ptr<StageHosts> make_caf_hosts() { return std::make_shared<CafHosts>(); }

CafStage::CafStage(caf::actor_system& system, HostServices services, const RoleFactory& factory, Executor& io,
                   std::function<void()> wake)
    : services_(services), wake_(std::move(wake)) {
  services_.transport = this;
  services_.stop = &closed_;
  const GraphView& graph = *services_.graph;
  for (const int node : services_.stage->nodes) {
    if (graph.nodes[node].artifact) continue;
    Slot& slot = slots_[node];
    slot.executor = make_thread_executor(graph.nodes[node].id);
    slot.io_lane = make_lane_executor(io);
    slot.host = std::make_unique<RoleHost>(services_, node, factory(graph, graph.nodes[node]), *slot.executor, *slot.io_lane);
  }
  // Spawned only when every role exists: from here on nothing throws.
  for (auto& [node, slot] : slots_) {
    slot.actor = system.spawn(role_actor, slot.host.get(), &closed_);
    ++actors_alive_;
    slot.actor->attach_functor([this] {
      std::lock_guard lock(mutex_);
      --actors_alive_;
      ended_.notify_all();
    });
  }
  for (auto& [node, slot] : slots_) caf::anon_send(slot.actor, caf::ok_atom::value);
}

CafStage::~CafStage() {
  R1_CHECK(torn_down_ || slots_.empty() || actors_alive_ == 0, "a stage is destroyed before its teardown");
}

bool CafStage::teardown(double limit_s) {
  if (torn_down_) return true;
  closed_ = true;
  const auto limit = std::chrono::steady_clock::now() + std::chrono::duration<double>(limit_s);
  for (auto& [node, slot] : slots_) caf::anon_send_exit(slot.actor, caf::exit_reason::kill);
  {
    std::unique_lock lock(mutex_);
    if (!ended_.wait_until(lock, limit, [this] { return actors_alive_ == 0; })) return false;
  }
  // Joining waits for jobs at hand; one that never ends must not hang the conductor as well.
  std::vector<std::unique_ptr<Executor>> executors;
  for (auto& [node, slot] : slots_) {
    executors.push_back(std::move(slot.executor));
    executors.push_back(std::move(slot.io_lane));
  }
  auto done = std::make_shared<std::promise<void>>();
  std::future<void> joined = done->get_future();
  std::thread([done, held = std::move(executors)]() mutable {
    held.clear();
    done->set_value();
  }).detach();
  if (joined.wait_until(limit) != std::future_status::ready) return false;
  for (auto& [node, slot] : slots_) slot.host.reset();
  torn_down_ = true;
  return true;
}

bool CafStage::all_finished() const {
  std::lock_guard lock(mutex_);
  for (const auto& [node, slot] : slots_)
    if (slot.state != RoleStatus::finished) return false;
  return true;
}

std::optional<StageHost::Failure> CafStage::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

std::vector<StageHost::RoleState> CafStage::roles() const {
  std::lock_guard lock(mutex_);
  std::vector<RoleState> rows;
  for (const auto& [node, slot] : slots_) {
    const NodePlan& plan = services_.graph->nodes[node];
    rows.push_back({plan.id, plan.role, slot.state, slot.progress});
  }
  return rows;
}

bool CafStage::call(const std::string& node, std::function<void(RoleHost&)> call) {
  for (auto& [index, slot] : slots_) {
    if (services_.graph->nodes[index].id != node) continue;
    run(kFromConductor, index, [host = slot.host.get(), call = std::move(call)] { call(*host); });
    return true;
  }
  return false;
}

caf::actor& CafStage::actor(int node) {
  const auto at = slots_.find(node);
  R1_CHECK(at != slots_.end(), fmt::format("node {} is not a role of stage {}", node, services_.stage->name));
  return at->second.actor;
}

void CafStage::post(int, int to, Envelope envelope) {
  caf::anon_send(actor(to), std::make_shared<Envelope>(std::move(envelope)));
}

void CafStage::run(int, int on, std::function<void()> call) {
  caf::anon_send(actor(on), std::make_shared<std::function<void()>>(std::move(call)));
}

void CafStage::finished(int node) {
  {
    std::lock_guard lock(mutex_);
    slots_.at(node).state = RoleStatus::finished;
  }
  wake_();
}

void CafStage::failed(int node, std::exception_ptr error) {
  {
    std::lock_guard lock(mutex_);
    slots_.at(node).state = RoleStatus::failed;
    if (!failure_) failure_ = Failure{services_.graph->nodes[node].id, error};
  }
  wake_();
}

void CafStage::end_stage(int) {
  for (auto& [node, slot] : slots_) post(kFromConductor, node, {});
}

void CafStage::progress(int node, const std::string& text) {
  std::lock_guard lock(mutex_);
  slots_.at(node).progress = text;
}

}  // namespace r1
