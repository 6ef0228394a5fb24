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
#include "runtime/nodes/memory_peers.h"
#include "runtime/nodes/node.h"
#include "runtime/nodes/pool_role.h"
#include "runtime/nodes/step_node_world.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {

class Star {
 public:
  // `run`: whose stages are run; its graph as a file is what nodes are sent.
  Star(LocalRun& run, uint64_t seed)
      : run_(run),
        world_({.seed = seed, .job_ns = [this](const std::string& of) { return of == "files" ? files_ns : job_ns; }}),
        net_life_(world_.new_life()),
        net_(world_.clock(), net_options()),
        peer_life_(world_.new_life()),
        peers_(world_.clock(), peer_options()),
        disk_(world_.executor({world_.new_life(), 0, 0}, "files")),
        members_(
            {.epoch = 1, .places = {}, .told = {}, .nobody_comes = [this](int) { return deserted; }, .files = disk_.get()}),
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

  const PayloadCodec* codec = &message_codec();  // of nodes that join from now on
  int64_t job_ns = 0;                            // that a job takes
  int64_t files_ns = 0;                          // that a piece of a file or a set takes to be read or stored
  std::shared_ptr<const EngineFactory> engines;  // of nodes that join from now on; null: the device's own
  bool own_caches = false;                       // nodes that join from now on are each on a machine of their own
  uint64_t small = 0;                            // as Node::Options, of nodes that join from now on

  // A node joins; its number.
  int add_node() {
    const int number = static_cast<int>(nodes_.size());
    auto node = std::make_unique<Process>(world_);
    node->tree = run_.dir / fmt::format("node-{}", number);
    Node::Options options;
    options.tree = node->tree;
    options.cache = own_caches ? run_.dir / fmt::format("cache-{}", number) : run_.dir / "cache";
    node->peers = peers_.of(number);
    options.peers = node->peers.get();
    options.small = small;
    options.prepare = [engines = engines](const OpenRole& open, const std::filesystem::path& tree) {
      return node_graph(open, tree, std::make_shared<ReadOnce>(), engines);
    };
    options.ended = [p = node.get()](const std::string& why) { p->ended = why.empty() ? "stop" : why; };
    node->node = std::make_unique<Node>(node->world, *codec, options);
    node->wire = net_.wires();
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
  // As SIGSTOP and SIGCONT.
  void stop(int number, bool stopped) {
    Process& node = *nodes_.at(static_cast<size_t>(number));
    node.world.hold(stopped);
    net_.stop(node.wire, stopped);
    peers_.stop(number, stopped);
  }
  int wire(int number) const { return nodes_.at(static_cast<size_t>(number))->wire; }
  // What is to happen when the head's clock has moved on.
  void after(double seconds, std::function<void()> call) {
    world_.push({net_life_, -2, ++calls_}, world_.clock().now_ns() + static_cast<int64_t>(seconds * 1e9), std::move(call));
  }
  // Looks at what is on its way, and may change it; false: it is lost.
  std::function<bool(MemoryNet::Way, WireMessage&)> tamper;
  bool alive(int number) const { return nodes_.at(static_cast<size_t>(number)) != nullptr; }
  // What nodes are sent in place of the run's graph.
  void graph_text(const std::string& text) { write_file_atomically(graph_file_, text); }
  // The same between nodes: by whose door it goes.
  std::function<bool(int door, MemoryNet::Way, WireMessage&)> tamper_peers;
  MemoryNet& net() { return net_; }
  MemoryPeers& peers() { return peers_; }
  Members& members() { return members_; }
  StepWorld& world() { return world_; }
  Node& node(int number) { return *nodes_.at(static_cast<size_t>(number))->node; }
  const std::string& ended(int number) { return nodes_.at(static_cast<size_t>(number))->ended; }

  size_t fetched_bytes = 0;             // PoolWorld::fetched_bytes
  std::string deserted;                 // why no node will come any more; "": one may
  const WaitRegistry* waits = nullptr;  // of the stage that is run
  // Called after every step of run_stage().
  std::function<void(int64_t step)> after_step;

  // "" when the stage was run to its end, else why not.
  std::string run_stage(const std::string& stage) {
    WaitRegistry registry(world_.clock());
    waits = &registry;
    EngineTimes times(world_.clock());
    FaultPlan faults("");
    HostServices services;
    services.graph = &run_.graph;
    services.stage = run_.graph.stage(stage);
    services.stage_id = run_.id(stage);
    services.store = run_.store.get();
    services.waits = &registry;
    services.times = &times;
    services.clock = &world_.clock();
    services.faults = &faults;
    registry.progressed(stage);
    PoolWorld pool;
    pool.members = &members_;
    pool.codec = &message_codec();
    pool.fetched_bytes = fetched_bytes;
    std::vector<PoolRole*> pools;
    const RoleFactory roles = pooled_roles(run_.env, *run_.store, graph_file_, pool, role_factory(run_.env));
    const RoleFactory factory = [&](const GraphView& graph, const NodePlan& node) {
      std::unique_ptr<Role> role = roles(graph, node);
      if (auto* made = dynamic_cast<PoolRole*>(role.get())) pools.push_back(made);
      return role;
    };
    LocalStage hosts(world_, services, factory);
    for (int64_t step = 0; !hosts.all_finished(); ++step) {
      world_.step();
      if (after_step) after_step(step);
      if (const auto failure = hosts.failure()) return failure->node + ": " + what_of(failure->error);
      if (std::string report = registry.stall_report(stage, 60, 600); !report.empty()) return report;
    }
    for (const PoolRole* role : pools) {
      refused += role->counts().refused;
      reissued += role->counts().reissued;
      lost += role->counts().lost;
    }
    engine_s = times.engine_s();
    run_.store->complete_stage(services.stage_id,
                               stage_summary(run_.graph, *services.stage, *run_.store, services.stage_id, {}, 1));
    return {};
  }
  int64_t reissued = 0, lost = 0, refused = 0;
  std::map<std::string, double> engine_s;  // of the last stage

 private:
  struct Process {
    explicit Process(StepWorld& w) : world(w) {}
    StepNodeWorld world;
    std::filesystem::path tree;
    std::unique_ptr<PeerNet> peers;
    std::unique_ptr<Node> node;
    std::unique_ptr<Links> links;
    int wire = -1;
    std::string ended;
  };
  MemoryNet::Options net_options() {
    MemoryNet::Options options;
    options.carry = [this](MemoryNet::Way way, std::function<void()> step) {
      world_.push({net_life_, way.wire, static_cast<int>(way.kind)}, 0, std::move(step));
    };
    options.tamper = [this](MemoryNet::Way way, WireMessage& message) { return !tamper || tamper(way, message); };
    return options;
  }
  MemoryPeers::Options peer_options() {
    MemoryPeers::Options options;
    options.carry = [this](int door, MemoryNet::Way way, std::function<void()> step) {
      world_.push({peer_life_, door * 1000 + way.wire, static_cast<int>(way.kind)}, 0, std::move(step));
    };
    options.tamper = [this](int door, MemoryNet::Way way, WireMessage& m) {
      return !tamper_peers || tamper_peers(door, way, m);
    };
    options.terms = [this](const std::string& host) { return terms(host); };
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
    peers_.tick();
    world_.push({net_life_, -1, 0}, world_.clock().now_ns() + 100'000'000, [this] { tick(); });
  }

  LocalRun& run_;
  int64_t pids_ = 0;
  int calls_ = 0;
  StepWorld world_;
  const int64_t net_life_;
  MemoryNet net_;
  const int64_t peer_life_;
  MemoryPeers peers_;
  std::unique_ptr<Executor> disk_;
  Members members_;
  const std::filesystem::path graph_file_;
  std::unique_ptr<Links> head_;
  std::vector<std::unique_ptr<Process>> nodes_;
};

}  // namespace r1
