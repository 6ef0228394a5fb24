// A head and nodes in one thread and virtual time: the real roles, pools, nodes and link protocol; what dies, and when, is the
// test's. One stage at a time, as LocalRun runs them.
#pragma once

#include <fmt/format.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/node_roles.h"
#include "base/files.h"
#include "runtime/flow/local_stage.h"
#include "runtime/flow/what_of.h"
#include "runtime/net/memory_links.h"
#include "runtime/nodes/node.h"
#include "runtime/nodes/pool_role.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {

class StepNodeWorld final : public NodeWorld {
 public:
  explicit StepNodeWorld(StepWorld& world) : world_(world), life_(world.new_life()) {}
  // As kill -9: nothing that is to happen in it happens.
  ~StepNodeWorld() override {
    for (const auto& [executor, life] : lives_) world_.forget(life);
    world_.forget(life_);
  }

  void post(std::function<void()> call) override { world_.push({life_, 0, 0}, 0, std::move(call)); }
  void post_after(double seconds, std::function<void()> call) override {
    world_.push({life_, 1, 0}, world_.clock().now_ns() + static_cast<int64_t>(seconds * 1e9), std::move(call));
  }
  std::unique_ptr<Executor> executor(const std::string& name) override {
    const int64_t life = world_.new_life();
    auto made = world_.executor({life, 0, 0}, name);
    lives_[made.get()] = life;
    return made;
  }
  void end(std::vector<std::unique_ptr<Executor>> executors, std::function<void()> then) override {
    for (const auto& executor : executors) {
      world_.forget(lives_.at(executor.get()));
      lives_.erase(executor.get());
    }
    post(std::move(then));
  }
  const Clock& clock() const override { return world_.clock(); }

 private:
  StepWorld& world_;
  const int64_t life_;
  std::map<Executor*, int64_t> lives_;
};

class Star {
 public:
  // `run`: whose stages are run; its graph as a file is what nodes are sent.
  Star(LocalRun& run, uint64_t seed)
      : run_(run),
        world_({.seed = seed}),
        net_life_(world_.new_life()),
        net_(world_.clock(), net_options()),
        disk_(world_.executor({world_.new_life(), 0, 0}, "files")),
        members_({.epoch = 1, .places = {}, .told = {}, .files = disk_.get()}),
        graph_file_(run.dir / "graph.graph") {
    write_file_atomically(graph_file_, graph_dot(run.graph, role_registry(run.env.graph_dir), false));
    head_ = net_.listen(terms("head"), members_);
    members_.use(head_.get());
    tick();
  }
  ~Star() {
    nodes_.clear();
    head_.reset();
  }

  // A node joins; its number.
  int add_node() {
    const int number = static_cast<int>(nodes_.size());
    auto node = std::make_unique<Process>(world_);
    node->tree = run_.dir / fmt::format("node-{}", number);
    Node::Options options;
    options.tree = node->tree;
    options.cache = run_.dir / "cache";
    options.prepare = [](const OpenRole& open, const std::filesystem::path& tree) {
      return node_graph(open, tree, std::make_shared<ReadOnce>());
    };
    options.ended = [p = node.get()](const std::string& why) { p->ended = why.empty() ? "stop" : why; };
    node->node = std::make_unique<Node>(node->world, message_codec(), options);
    node->links = net_.dial("node", terms(fmt::format("n{}", number)), *node->node);
    node->node->use(node->links.get());
    nodes_.push_back(std::move(node));
    return number;
  }
  void kill(int number) {
    std::unique_ptr<Process>& node = nodes_.at(static_cast<size_t>(number));
    if (!node) return;
    net_.crash(*node->links);
    node.reset();
  }
  bool alive(int number) const { return nodes_.at(static_cast<size_t>(number)) != nullptr; }
  // What nodes are sent in place of the run's graph.
  void graph_text(const std::string& text) { write_file_atomically(graph_file_, text); }
  MemoryNet& net() { return net_; }
  Members& members() { return members_; }
  StepWorld& world() { return world_; }
  Node& node(int number) { return *nodes_.at(static_cast<size_t>(number))->node; }
  const std::string& ended(int number) { return nodes_.at(static_cast<size_t>(number))->ended; }

  // Called after every step of run_stage().
  std::function<void(int64_t step)> after_step;

  // "" when the stage was run to its end, else why not.
  std::string run_stage(const std::string& stage) {
    WaitRegistry waits(world_.clock());
    EngineTimes times(world_.clock());
    FaultPlan faults("");
    HostServices services;
    services.graph = &run_.graph;
    services.stage = run_.graph.stage(stage);
    services.stage_id = run_.id(stage);
    services.store = run_.store.get();
    services.waits = &waits;
    services.times = &times;
    services.clock = &world_.clock();
    services.faults = &faults;
    waits.progressed(stage);
    PoolWorld pool;
    pool.members = &members_;
    pool.codec = &message_codec();
    pool.opens = [this](const GraphView& graph, const NodePlan& node) { return open_role(run_.env, graph, node, graph_file_); };
    const RoleFactory real = role_factory(run_.env);
    std::vector<PoolRole*> pools;
    const RoleFactory factory = [&](const GraphView& graph, const NodePlan& node) -> std::unique_ptr<Role> {
      if (!stays_with_head(graph, node).empty()) return real(graph, node);
      auto role = std::make_unique<PoolRole>(pool);
      pools.push_back(role.get());
      return role;
    };
    LocalStage hosts(world_, services, factory);
    for (int64_t step = 0; !hosts.all_finished(); ++step) {
      world_.step();
      if (after_step) after_step(step);
      if (const auto failure = hosts.failure()) return failure->node + ": " + what_of(failure->error);
      if (std::string report = waits.stall_report(stage, 60, 600); !report.empty()) return report;
    }
    for (const PoolRole* role : pools) {
      reissued += role->counts().reissued;
      lost += role->counts().lost;
    }
    engine_s = times.engine_s();
    run_.store->complete_stage(services.stage_id,
                               stage_summary(run_.graph, *services.stage, *run_.store, services.stage_id, {}, 1));
    return {};
  }
  int64_t reissued = 0, lost = 0;
  std::map<std::string, double> engine_s;  // of the last stage

 private:
  struct Process {
    explicit Process(StepWorld& w) : world(w) {}
    StepNodeWorld world;
    std::filesystem::path tree;
    std::unique_ptr<Node> node;
    std::unique_ptr<Links> links;
    std::string ended;
  };
  MemoryNet::Options net_options() {
    MemoryNet::Options options;
    options.carry = [this](MemoryNet::Way way, std::function<void()> step) {
      world_.push({net_life_, way.wire, static_cast<int>(way.kind)}, 0, std::move(step));
    };
    return options;
  }
  LinkTerms terms(const std::string& host) {
    LinkTerms t;
    t.self.build = "r1 test";
    t.self.host = host;
    t.self.pid = ++pids_;
    t.self.cores = 1;
    t.self.devices = {"cpu"};
    t.self.fingerprint = "the same";
    t.self.nonce = fmt::format("{}", pids_);
    return t;
  }
  void tick() {
    net_.tick();
    world_.push({net_life_, -1, 0}, world_.clock().now_ns() + 100'000'000, [this] { tick(); });
  }

  LocalRun& run_;
  int64_t pids_ = 0;
  StepWorld world_;
  const int64_t net_life_;
  MemoryNet net_;
  std::unique_ptr<Executor> disk_;
  Members members_;
  const std::filesystem::path graph_file_;
  std::unique_ptr<Links> head_;
  std::vector<std::unique_ptr<Process>> nodes_;
};

}  // namespace r1
