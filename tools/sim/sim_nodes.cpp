#include "tools/sim/sim_nodes.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "actors/node_roles.h"
#include "actors/ranks_at_nodes.h"
#include "actors/roles.h"
#include "actors/wire.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr double kShortestTick_s = 0.05, kLongestTick_s = 0.5;
constexpr double kGrace_s = 5;  // as the launcher's, for one whose link is lost

}  // namespace

// Between the links and the members: hears one answer twice.
class SimNodes::Ears final : public LinkSink {
 public:
  Ears(Members& members, std::function<void(PeerId, const LinkPacket&)> hears) : members_(members), hears_(std::move(hears)) {}
  void echo(PeerId peer) { echo_.insert(peer); }

  void peer_up(PeerId peer, const PeerHello& hello) override { members_.peer_up(peer, hello); }
  void received(PeerId peer, LinkPacket packet) override {
    hears_(peer, packet);
    const bool twice = packet.kind == PacketKind::payload && echo_.erase(peer) != 0;
    if (twice) members_.received(peer, packet);
    members_.received(peer, std::move(packet));
  }
  void peer_lost(PeerId peer, const std::string& why) override { members_.peer_lost(peer, why); }
  void not_joined(const std::string& why, bool refused) override { members_.not_joined(why, refused); }

 private:
  Members& members_;
  const std::function<void(PeerId, const LinkPacket&)> hears_;
  std::set<PeerId> echo_;
};

// From the members to the links: sees at which nodes ranks are opened.
class SimNodes::Mouth final : public Links {
 public:
  Mouth(SimNodes& nodes, Links& links) : nodes_(nodes), links_(links) {}
  void send(PeerId peer, LinkPacket packet) override {
    if (packet.kind == PacketKind::open && packet.number > 0) nodes_.rank_opened(peer);
    links_.send(peer, std::move(packet));
  }
  void drop(PeerId peer, const std::string& why) override { links_.drop(peer, why); }

 private:
  SimNodes& nodes_;
  Links& links_;
};

SimNodes::SimNodes(StepWorld& world, const Scenario& scenario, Options options)
    : world_(world),
      scenario_(scenario),
      options_(std::move(options)),
      rng_(scenario.seed, "nodes"),
      life_(world.new_life()),
      net_(world.clock(), net_options()),
      rings_(world, ring_options()),
      peers_(world.clock(), peer_options()),
      slots_(static_cast<size_t>(scenario.nodes)) {
  tick();
}

SimNodes::~SimNodes() {
  end_head();
  for (Slot& slot : slots_) slot.process.reset();
  world_.forget(life_);
}

int64_t SimNodes::delay_ns() {
  return scenario_.message_ns > 0 ? static_cast<int64_t>(rng_.below(static_cast<uint64_t>(scenario_.message_ns))) : 0;
}

MemoryPeers::Options SimNodes::peer_options() {
  MemoryPeers::Options options;
  options.terms = [this](const std::string& host) { return terms(host); };
  options.carry = [this](int door, MemoryNet::Way way, std::function<void()> step) {
    // Lanes of their own, behind those of the head's net (wires) and of at() (-2).
    world_.push({life_, -4 - door, way.wire * 8 + static_cast<int>(way.kind)}, world_.clock().now_ns() + delay_ns(),
                std::move(step));
  };
  // What a door gives is other bytes, as if the node lied: the link's checksum fits.
  options.tamper = [this](int door, MemoryNet::Way way, WireMessage& message) {
    if (door < 0 || (way.kind != MemoryNet::Way::Kind::to_node_control && way.kind != MemoryNet::Way::Kind::to_node_bulk))
      return true;
    const auto due = peer_damage_.find(peers_.owner(door));
    if (due == peer_damage_.end() || message.parts.empty() || message.parts[0].size() == 0) return true;
    Piece piece = decode_piece(std::move(message));
    if (piece.kind == PacketKind::blob) {
      std::string bytes(piece.parts[0].bytes());
      bytes[rng_.below(bytes.size())] ^= static_cast<char>(1 << rng_.below(8));
      piece.parts[0] = WireFrame(std::move(bytes));
      if (--due->second == 0) peer_damage_.erase(due);
    }
    message = encode_piece(piece);
    return true;
  };
  return options;
}

MemoryNet::Options SimNodes::net_options() {
  MemoryNet::Options options;
  options.carry = [this](MemoryNet::Way way, std::function<void()> step) {
    world_.push({life_, way.wire, static_cast<int>(way.kind)}, world_.clock().now_ns() + delay_ns(), std::move(step));
  };
  options.tamper = [this](MemoryNet::Way way, WireMessage& message) {
    const auto due = damage_.find(way.wire);
    if (due == damage_.end() || message.header.empty()) return true;
    const bool lost = due->second < 0;
    damage_.erase(due);
    if (!lost) message.header[rng_.below(message.header.size())] ^= static_cast<char>(1 << rng_.below(8));
    return !lost;
  };
  return options;
}

SimRings::Options SimNodes::ring_options() {
  SimRings::Options options;
  options.seed = scenario_.seed;
  options.message_ns = scenario_.message_ns;
  return options;
}

// One that begins where something was done before may feel it yet.
void SimNodes::rank_opened(PeerId peer) {
  for (Slot& slot : slots_) {
    if (slot.peer != peer) continue;
    if (slot.process) slot.process->has_ranks = true;
    if (!slot.process || disturbed_.count(slot.peer_wire) != 0) rank_cause_ = true;
  }
}

void SimNodes::disturbed(const Process& process) {
  disturbed_.insert(process.wire);
  if (process.has_ranks) rank_cause_ = true;
}

LinkTerms SimNodes::terms(const std::string& host) {
  LinkTerms t;
  t.self.build = "r1 simulated";
  t.self.host = host;
  t.self.pid = ++pids_;
  t.self.cores = 1;
  t.self.devices = {"cpu"};
  t.self.fingerprint = "the same";
  t.self.nonce = std::to_string(pids_);
  return t;
}

void SimNodes::at(double seconds, std::function<void()> call) {
  // A lane each, or one that is due later would hold up the others.
  world_.push({life_, -2, static_cast<int>(++pids_)}, world_.clock().now_ns() + static_cast<int64_t>(seconds * 1e9),
              std::move(call));
}

void SimNodes::tick() {
  net_.tick();
  rings_.tick();
  peers_.tick();
  const int64_t next_ns = std::min({net_.next_tick_ns(), rings_.next_tick_ns(), peers_.next_tick_ns()});
  const double in_s = next_ns == INT64_MAX ? kLongestTick_s : static_cast<double>(next_ns - world_.clock().now_ns()) * 1e-9;
  at(std::clamp(in_s, kShortestTick_s, kLongestTick_s), [this] { tick(); });
}

// ---- the head ---------------------------------------------------------------------------------------------------------

RoleFactory SimNodes::begin_head(RunEnv& env, RunStore& store, const GraphView& graph, const fs::path& graph_file) {
  graph_ = &graph;
  files_life_ = world_.new_life();
  files_ = world_.executor({files_life_, 0, 0}, "files");
  Members::Options members;
  members.epoch = static_cast<uint64_t>(++epoch_);
  members.told = [this](const Member& member, bool up, const std::string& why) { told(member, up, why); };
  members.files = files_.get();
  members_ = std::make_unique<Members>(std::move(members));
  ears_ = std::make_unique<Ears>(*members_, [this](PeerId peer, const LinkPacket& packet) {
    for (size_t s = 0; s < slots_.size(); ++s)
      if (slots_[s].peer == peer && packet.kind != PacketKind::records)
        note(fmt::format("node {} says {}{}", s, packet_kind_name(packet.kind),
                         packet.node < 0 ? "" : " of " + graph_->nodes.at(static_cast<size_t>(packet.node)).id));
  });
  crashed_ = false;
  head_ = net_.listen(terms("head"), *ears_);
  mouth_ = std::make_unique<Mouth>(*this, *head_);
  members_->use(mouth_.get());
  for (size_t s = 0; s < slots_.size(); ++s) {
    slots_[s].peer = 0;
    // Those that somebody else started stay, and come back.
    if (!scenario_.by_hand) kill(s);
    if (!slots_[s].process || slots_[s].process->over) start_later(s, rng_.uniform() * 0.5);
  }
  RankWorld ranks;
  ranks.members = members_.get();
  ranks.env = &env;
  ranks.graph = &graph;
  ranks.store = &store;
  ranks.graph_file = graph_file;
  ranks.ring = rings_.of(SimRings::kHead);
  std::vector<std::string> names;
  for (size_t s = 0; s < slots_.size(); ++s) names.push_back(std::to_string(s));
  for (const NodePlan& plan : graph.nodes)
    if (ranks_at_nodes(plan) > 0) ranks.places[plan.id] = names;
  env.engines = engines_with_ranks_at_nodes(std::move(ranks), env.engines);
  PoolWorld pool;
  pool.members = members_.get();
  pool.codec = &message_codec();
  pool.broken = scenario_.broken;
  pool.fetched_bytes = 0;  // all weights: they are small here
  return pooled_roles(env, store, graph_file, pool, role_factory(env));
}

void SimNodes::crash_head() {
  if (!head_) return;
  crashed_ = true;
  members_->use(nullptr);
  net_.crash(*head_);
  rings_.crash(SimRings::kHead);
  ++epoch_;  // nodes of the one before may end
}

void SimNodes::end_head() {
  if (!members_) return;
  members_->use(nullptr);
  head_.reset();
  world_.forget(files_life_);
  files_.reset();
  ears_.reset();
  members_.reset();
}

void SimNodes::told(const Member& member, bool up, const std::string& why) {
  size_t s = 0;
  while (member.hello.principal != fmt::format("node:{}", s)) ++s;
  Slot& slot = slots_[s];
  note(fmt::format("node {} {}", s, up ? "joins" : "is lost: " + why));
  if (up) {
    slot.peer = member.peer;
    slot.peer_wire = wire_of_.at(member.hello.pid);
    return;
  }
  if (slot.peer != member.peer) return;
  slot.peer = 0;
  if (disturbed_.count(slot.peer_wire) == 0)
    options_.violation(fmt::format("node {} is lost and nothing was done to it: {}", s, why));
  if (scenario_.by_hand) return;
  // The launcher closes its stdin, and ends it if that is not enough.
  at(rng_.uniform() * kGrace_s, [this, s, starts = slot.starts] {
    if (slots_[s].starts != starts) return;
    kill(s);
    start_later(s, rng_.uniform());
  });
}

// ---- processes --------------------------------------------------------------------------------------------------------

void SimNodes::start_later(size_t s, double seconds) {
  at(seconds, [this, s, starts = slots_[s].starts] {
    if (slots_[s].starts == starts) start(s);
  });
}

void SimNodes::start(size_t s) {
  Slot& slot = slots_[s];
  if (slot.process && !slot.process->over) return;
  slot.process.reset();
  if (!head_ || crashed_) return;  // the next head starts it: a link in memory is not dialled again
  note(fmt::format("node {} starts", s));
  ++slot.starts;
  auto process = std::make_unique<Process>();
  process->world = std::make_unique<StepNodeWorld>(world_);
  Node::Options options;
  options.tree = options_.dir / fmt::format("node-{}", s);
  options.cache = options_.dir / fmt::format("cache-{}", s);  // processes of one id would get into each other's way in one
  options.prepare = [this, s](const OpenRole& open, const fs::path& tree) {
    return node_graph(open, tree, once_, options_.engines, "", rings_.of(static_cast<int>(s)));
  };
  options.ended = [this, s, p = process.get()](const std::string& why) {
    note(fmt::format("node {} ends: {}", s, why.empty() ? "stop" : why));
    // One whose key the process before it still has is refused, and tries again.
    if (!why.empty() && !p->node->refused() && disturbed_.count(p->wire) == 0 && head_ && members_ && slots_[s].peer != 0 &&
        p->epoch == epoch_)
      options_.violation(fmt::format("node {} ends and nothing was done to it: {}", s, why));
    disturbed(*p);
    p->over = true;
    start_later(s, 0.1 + rng_.uniform());
  };
  process->wire = net_.wires();
  process->peers = peers_.of(process->wire);
  options.peers = process->peers.get();
  options.small = 0;
  process->node = std::make_unique<Node>(*process->world, message_codec(), options);
  process->epoch = epoch_;
  const LinkTerms self = terms(fmt::format("n{}", s));
  wire_of_[self.self.pid] = process->wire;
  process->links = net_.dial(fmt::format("node:{}", s), self, *process->node);
  process->node->use(process->links.get());
  slot.process = std::move(process);
}

void SimNodes::kill(size_t s) {
  std::unique_ptr<Process>& process = slots_[s].process;
  if (!process) return;
  disturbed(*process);
  net_.stop(process->wire, false);
  peers_.stop(process->wire, false);
  net_.crash(*process->links);
  rings_.crash(static_cast<int>(s));
  process.reset();
}

// ---- faults -----------------------------------------------------------------------------------------------------------

void SimNodes::look() {
  while (next_fault_ < scenario_.node_faults.size() && world_.steps() >= scenario_.node_faults[next_fault_].n)
    fault(scenario_.node_faults[next_fault_++]);
}

void SimNodes::fault(const NodeFault& f) {
  const size_t s = f.slot;
  Slot& slot = slots_[s];
  if (f.kind == NodeFaultKind::scale) {
    if (!members_ || !head_) return;
    const char* const roles[] = {"policy", "judge", "reference"};
    const char* const role = roles[rng_.below(3)];
    const auto workers = static_cast<int64_t>(rng_.below(slots_.size() + 1));
    for (size_t n = 0; n < graph_->nodes.size(); ++n)
      if (graph_->nodes[n].id == role) members_->scale(static_cast<int>(n), workers);
    note(fmt::format("{} is scaled to {}", role, workers));
    ++faults_;
    return;
  }
  if (!slot.process || slot.process->over) return;
  const int wire = slot.process->wire;
  if (f.kind == NodeFaultKind::drain) {
    if (!members_ || slot.peer == 0) return;
    members_->drain(slot.peer);
    if (slot.process->has_ranks) rank_cause_ = true;
  } else if (f.kind >= NodeFaultKind::ring_cut_to_next) {
    if (!slot.process->has_ranks) return;
    rank_cause_ = true;
  } else {
    disturbed(*slot.process);
  }
  note(fmt::format("node {}: {} for {:.3f} s", s, node_fault_name(f.kind), f.seconds));
  ++faults_;
  const auto later = [this, s, starts = slot.starts, wire, seconds = f.seconds](std::function<void()> call) {
    at(seconds, [this, s, starts, call = std::move(call)] {
      if (slots_[s].starts == starts && slots_[s].process) call();
    });
    (void)wire;
  };
  switch (f.kind) {
    case NodeFaultKind::kill:
      kill(s);
      start_later(s, 0.1 + rng_.uniform());
      break;
    case NodeFaultKind::stop:
      slot.process->world->hold(true);
      net_.stop(wire, true);
      rings_.stop(static_cast<int>(s), true);
      peers_.stop(wire, true);
      later([this, s, wire] {
        slots_[s].process->world->hold(false);
        net_.stop(wire, false);
        rings_.stop(static_cast<int>(s), false);
        peers_.stop(wire, false);
      });
      break;
    case NodeFaultKind::cut_to_head:
    case NodeFaultKind::cut_to_node:
    case NodeFaultKind::cut_both:
      if (f.kind != NodeFaultKind::cut_to_node) net_.cut(wire, true);
      if (f.kind != NodeFaultKind::cut_to_head) net_.cut(wire, false);
      // A host that is unplugged reaches nobody.
      if (f.kind == NodeFaultKind::cut_both)
        for (const bool to_next : {true, false}) rings_.cut(static_cast<int>(s), to_next);
      later([this, s, wire] {
        net_.heal(wire);
        rings_.heal(static_cast<int>(s));
      });
      break;
    case NodeFaultKind::reset:
      net_.reset(wire);
      break;
    case NodeFaultKind::damage:
      damage_[wire] = 1;
      peer_damage_[wire] = 3;
      break;
    case NodeFaultKind::lose:
      damage_[wire] = -1;
      break;
    case NodeFaultKind::twice:
      if (ears_ && slot.peer != 0) ears_->echo(slot.peer);
      break;
    case NodeFaultKind::ring_cut_to_next:
    case NodeFaultKind::ring_cut_to_previous:
      rings_.cut(static_cast<int>(s), f.kind == NodeFaultKind::ring_cut_to_next);
      later([this, s] { rings_.heal(static_cast<int>(s)); });
      break;
    case NodeFaultKind::ring_reset:
      rings_.reset(static_cast<int>(s));
      break;
    case NodeFaultKind::ring_damage:
    case NodeFaultKind::ring_lose:
      rings_.damage(static_cast<int>(s), f.kind == NodeFaultKind::ring_lose);
      break;
    case NodeFaultKind::drain:
    case NodeFaultKind::scale:
      break;
  }
}

}  // namespace r1
