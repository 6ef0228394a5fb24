#include "tools/run/run_nodes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "actors/devices.h"
#include "actors/node_roles.h"
#include "actors/ranks_at_nodes.h"
#include "actors/wire.h"
#include "base/json.h"
#include "base/log.h"
#include "base/say.h"
#include "base/stored.h"
#include "kernels/plugin.h"
#include "runtime/nodes/hostfile.h"
#include "runtime/nodes/pool_role.h"
#include "runtime/nodes/ring_links.h"
#include "runtime/nodes/slurm.h"
#include "tools/node_hello.h"

namespace r1 {

namespace fs = std::filesystem;

namespace {

constexpr const char* kEpochKey = "head_epoch";
constexpr const char* kReplicas = ".replicas";  // of a role, as `set` keeps an attribute of a trainer

// Counted up before anything is opened under it.
uint64_t next_epoch(RunStore& store) {
  const auto before = store.meta(kEpochKey);
  const int64_t epoch =
      before ? stored_integer(*before, store.place("meta", fmt::format("key='{}'", kEpochKey))) + 1 : int64_t{1};
  store.set_meta(kEpochKey, std::to_string(epoch));
  store.flush();
  return static_cast<uint64_t>(epoch);
}

// Beside this program, where a build and an installation have it.
fs::path node_program() {
  std::error_code none;
  const fs::path here = fs::read_symlink("/proc/self/exe", none);
  return here.parent_path() / "r1-node";
}

std::vector<FleetEntry> entries_of(const std::vector<HostEntry>& hosts) {
  std::map<std::string, int> of_host;
  for (const HostEntry& host : hosts) ++of_host[host.machine()];
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<FleetEntry> entries;
  for (const HostEntry& host : hosts) {
    FleetEntry& e = entries.emplace_back();
    e.name = host.name;
    e.host = host.is_local() ? "" : host.host;
    e.user = host.user;
    e.port = host.port;
    e.threads = host.is_local() ? threads_of(host, hosts, cores) : host.slots.value_or(0);
    e.share = of_host.at(host.machine());
    e.device = host.device;
    e.address = host.address;
    e.ports = host.ports;
    e.tags = host.tags;
  }
  return entries;
}

std::vector<FleetEntry> slurm_entries() {
  const Environment environment = [](const std::string& name) {
    const char* const value = std::getenv(name.c_str());
    return std::string(value == nullptr ? "" : value);
  };
  if (!in_slurm(environment))
    throw bad_input("--slurm outside of a Slurm job", {}, "in a job (sbatch, salloc), or --hostfile FILE");
  std::vector<HostEntry> hosts = slurm_hosts(environment);
  std::vector<FleetEntry> entries = entries_of(hosts);
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i].slurm = true;
    entries[i].host = hosts[i].host;
    entries[i].threads = hosts[i].slots.value_or(0);
  }
  return entries;
}

bool asks_for_hosts(const NodePlan& node) {
  for (const char* attr : {"host", "tags"})
    if (node.attrs.has(attr) && !node.attrs.text(attr).empty()) return true;
  return false;
}

// A node has one device: what its line says, else what the roles that it may be given say - of several cards the n-th node of a
// host has the n-th.
void choose_devices(const std::vector<HostEntry>& hosts, const GraphView& graph, NodesPlan& plan) {
  std::map<std::string, size_t> of_host;
  for (size_t i = 0; i < plan.entries.size(); ++i) {
    FleetEntry& entry = plan.entries[i];
    const size_t number = of_host[entry.host]++;
    if (!entry.device.empty()) continue;
    AskedDevice asked;
    for (const auto& [role, names] : plan.placement) {
      const NodePlan& node = graph.nodes[static_cast<size_t>(role)];
      if (!computes(graph, node) || std::find(names.begin(), names.end(), entry.name) == names.end()) continue;
      const AskedDevice own = asked_device(graph, node);
      if (!asked.text.empty() && asked.text != own.text)
        throw bad_input(fmt::format("'{}' is to be on {}, and another role of {} on {}: a node has one device", node.id,
                                    own.text, entry.name, asked.text),
                        own.where, "host= or tags= that part them, or the same on=");
      asked = own;
    }
    if (asked.text.empty()) continue;
    std::vector<std::string> names = parse_device_wish(asked.text, asked.where).names;
    if (names.empty()) {
      const std::optional<int> told = i < hosts.size() ? hosts[i].gpus : std::nullopt;
      const int cards = told ? *told : entry.host.empty() ? plugin_devices().count : 0;
      for (int card = 0; card < cards; ++card) names.push_back(fmt::format("gpu:{}", card));
      if (names.empty()) names = {"cpu"};
    }
    entry.device = names[number % names.size()];
  }
}

// HOST:PORT, or HOST:FROM-TO: the first two ports are the head's, the others are for ranks of trainers.
void read_listen(const std::string& text, NodesPlan& plan) {
  const size_t dash = text.find('-', std::min(text.rfind(':'), text.size()));
  plan.listen = parse_link_address(text.substr(0, dash));
  if (dash == std::string::npos) return;
  const PortRange all = parse_port_range(std::string_view(text).substr(text.rfind(':') + 1));
  if (all.last < all.first + 3)
    throw bad_input(fmt::format("--listen with ports {} leaves none for ranks", all.text()), {},
                    "four ports at least: two for the nodes, two for each trainer with ranks=");
  plan.rank_ports = {all.first + 2, all.last};
}

// What learns is there; nodes that compute otherwise are refused by it.
const Device& head_device(const RunEnv& env, const GraphView& graph) {
  for (size_t stage = 0; stage < graph.stages.size(); ++stage)
    if (const NodePlan* trainer = stage_trainer(graph, static_cast<int>(stage))) return *env_of(env, *trainer).device;
  return *env.device;
}

}  // namespace

NodesPlan plan_nodes(const fs::path& hostfile, const ListenWords& where, const GraphView& graph) {
  NodesPlan plan;
  std::vector<HostEntry> hosts;
  if (!hostfile.empty()) hosts = read_hostfile(hostfile);
  plan.entries = hostfile.empty() ? slurm_entries() : entries_of(hosts);
  const auto far = std::find_if(plan.entries.begin(), plan.entries.end(), [](const FleetEntry& e) { return !e.host.empty(); });
  if (!where.listen.empty()) read_listen(where.listen, plan);
  plan.address = where.address;
  const bool everywhere = plan.listen.host == "0.0.0.0" || plan.listen.host == "::";
  if (far != plan.entries.end() && (where.listen.empty() || (everywhere && where.address.empty())))
    throw bad_input(fmt::format("nodes on '{}' cannot reach this process, which listens on {}", far->host,
                                everywhere ? "all addresses and says none of them" : "loopback only"),
                    hostfile.empty() ? Where{} : Where{hostfile.string()},
                    everywhere ? "--address HOST, by which they reach this machine"
                               : "--listen HOST:PORT with an address of this machine that they reach");
  std::vector<int> roles;
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (stays_with_head(graph, graph.nodes[n]).empty() || ranks_at_nodes(graph.nodes[n]) > 0)
      roles.push_back(static_cast<int>(n));
  plan.placement = place_roles(graph, roles, plan.entries);
  choose_devices(hosts, graph, plan);
  return plan;
}

RunNodes::RunNodes(NodesPlan plan, const Options& options, const RunEnv& env, const GraphView& graph, RunStore& store,
                   const std::atomic<bool>& interrupted)
    : env_(env),
      graph_(graph),
      store_(store),
      placement_(std::move(plan.placement)),
      listen_host_(plan.listen.host),
      rank_ports_(plan.rank_ports),
      self_(node_hello(head_device(env, graph), cpu_threads())) {
  Fleet::Options fleet;
  fleet.run_dir = env.run_dir;
  fleet.entries = std::move(plan.entries);
  fleet.listen = plan.listen;
  fleet.address = plan.address;
  fleet.self = self_;
  fleet.any_fingerprint = options.any_fingerprint;
  fleet.epoch = next_epoch(store);
  fleet.program = node_program();
  fleet.device = graph.attrs.text("device");
  fleet.invitations = options.invitations;
  fleet.drained = store.drained();
  fleet.places = [this](int node, const FleetEntry& entry) {
    const auto at = placement_.find(node);
    // Who was invited has no tags, and may be on any host.
    if (entry.invited) return at != placement_.end() && !asks_for_hosts(graph_.nodes[static_cast<size_t>(node)]);
    return at != placement_.end() && std::find(at->second.begin(), at->second.end(), entry.name) != at->second.end();
  };
  fleet_ = std::make_unique<Fleet>(std::move(fleet));
  take_up_orders();
  const std::vector<Fleet::Row> rows = fleet_->join(interrupted);
  const std::string table = fleet_table(rows) + nodes_placement_text(graph, placement_);
  log_info("nodes:\n" + table);
  const auto missing =
      std::find_if(rows.begin(), rows.end(), [](const Fleet::Row& row) { return !row.here() && !row.invited && !row.drained; });
  // Of nodes that are all drained the run waits for a shell to take one back.
  const bool any = std::any_of(rows.begin(), rows.end(), [](const Fleet::Row& row) { return row.here() || row.drained; });
  say("{}", table);
  if (interrupted || (any && (missing == rows.end() || options.allow_missing))) return;
  const bool unknown =
      missing->state.find("ssh: exit code 127") != std::string::npos;  // what a shell says of a program it lacks
  throw bad_input(fmt::format("{} on {} is not there: {}", missing->name, missing->host, missing->state), {},
                  fmt::format("{}{}", unknown ? "r1-node has to be on the PATH of the login shell there" : "mend it",
                              any ? ", or go on without it: --allow-missing" : ""));
}

std::string nodes_placement_text(const GraphView& graph, const Placement& placement) {
  Placement whole;
  std::string ranked;
  for (const auto& [node, names] : placement) {
    const NodePlan& plan = graph.nodes[static_cast<size_t>(node)];
    if (ranks_at_nodes(plan) == 0) {
      whole[node] = names;
      continue;
    }
    ranked += fmt::format("{}: rank 0 head", plan.id);
    for (int64_t rank = 1; rank <= ranks_at_nodes(plan); ++rank)
      ranked += fmt::format(", {} {}", rank, place_of_rank(names, rank));
    ranked += "\n";
  }
  return placement_text(graph, whole) + ranked;
}

void RunNodes::place_ranks(RunEnv& env) {
  RankWorld world;
  world.members = &fleet_->members();
  world.env = &env_;
  world.graph = &graph_;
  world.store = &store_;
  world.graph_file = env_.run_dir / "graph.graph";
  RingLinksOptions ring;
  ring.listen = [this] { return listen_host_; };
  ring.ports = rank_ports_;
  ring.self = self_;
  world.ring = [ring](const RingInvitation& told) { return ring_links(told, ring); };
  for (const auto& [node, names] : placement_)
    if (const NodePlan& plan = graph_.nodes[static_cast<size_t>(node)]; ranks_at_nodes(plan) > 0) world.places[plan.id] = names;
  if (world.places.empty()) return;
  env.engines = engines_with_ranks_at_nodes(world, env.engines);
  for (auto& [node, device] : env.elsewhere)
    if (device.engines) device.engines = engines_with_ranks_at_nodes(world, device.engines);
}

RoleFactory RunNodes::factory(RoleFactory inner) {
  PoolWorld pool;
  pool.members = &fleet_->members();
  pool.codec = &message_codec();
  return pooled_roles(env_, store_, env_.run_dir / "graph.graph", pool, std::move(inner));
}

std::vector<ShellNode> RunNodes::shell_rows() const {
  std::map<std::string, std::vector<Members::Part>> at_work;
  for (const Member& member : fleet_->members().list()) at_work[member.node()] = fleet_->members().parts_at(member.peer);
  std::vector<ShellNode> nodes;
  for (const Fleet::Row& row : fleet_->rows()) {
    ShellNode& node = nodes.emplace_back(ShellNode{row.name,
                                                   row.host,
                                                   row.pid,
                                                   row.pid > 0 ? row.threads : 0,
                                                   row.state,
                                                   {},
                                                   row.lost,
                                                   {},
                                                   row.silent_s,
                                                   row.resident_bytes});
    for (const auto& [role, rank] : at_work[row.name]) {
      const std::string& id = graph_.nodes[static_cast<size_t>(role)].id;
      if (rank > 0)
        node.ranks.push_back({id, static_cast<int64_t>(rank)});
      else
        node.roles.push_back(id);
    }
  }
  return nodes;
}

std::set<std::string> RunNodes::actors() const {
  std::set<std::string> actors;
  for (const auto& [number, names] : placement_) {
    const NodePlan& node = graph_.nodes[static_cast<size_t>(number)];
    if (stays_with_head(graph_, node).empty()) actors.insert(node.id);
  }
  return actors;
}

ShellNodeOrders RunNodes::orders() {
  return {[this](const std::string& node) { return drain(node); }, [this](const std::string& node) { return undrain(node); },
          [this](const std::string& role, int64_t workers) { return scale(role, workers); }};
}

std::vector<std::string> RunNodes::able(int node) const {
  std::vector<std::string> names;
  for (const Member& member : fleet_->members().list())
    if (!fleet_->members().drains(member.peer) && fleet_->members().may_run(node, member)) names.push_back(member.node());
  std::sort(names.begin(), names.end());
  return names;
}

std::string RunNodes::drain(const std::string& node) {
  const std::vector<Fleet::Row> rows = fleet_->rows();
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const Fleet::Row& r) { return r.name == node; });
  if (row == rows.end()) throw bad_input(fmt::format("there is no node '{}'", node), {}, "see 'nodes'");
  if (row->state == "leaves") throw bad_input(fmt::format("{} leaves already", node));
  if (row->drained) throw bad_input(fmt::format("{} is drained already: {}", node, row->state), {}, "'undrain' takes it back");
  if (!row->here()) throw bad_input(fmt::format("{} is not there: {}", node, row->state), {}, "see 'nodes'");
  std::set<std::string> ended;
  for (const StageRow& stage : store_.stages())
    if (stage.ended()) ended.insert(stage.name);
  for (const auto& [role, names] : placement_) {
    const NodePlan& plan = graph_.nodes[static_cast<size_t>(role)];
    if (ended.count(graph_.stages[static_cast<size_t>(plan.stage)].name) != 0) continue;
    if (able(role) == std::vector{node})
      throw bad_input(fmt::format("{} is the last that can do the work of {}", node, plan.id), {},
                      "'stop' ends the run; another node first: r1-run --invite N, r1-node --join");
  }
  // Before it happens: what a kill in between leaves is a node that stays away, and nobody was told anything.
  store_.set_drained(node, row->host, true);
  if (!fleet_->drain(node)) {
    store_.set_drained(node, row->host, false);
    throw bad_input(fmt::format("{} is not there any more", node), {}, "see 'nodes'");
  }
  return fmt::format("{} gets nothing new, ends what it has and leaves; 'nodes' shows when it has left", node);
}

std::string RunNodes::undrain(const std::string& node) {
  const std::map<std::string, std::string> drained = store_.drained();
  const auto at = drained.find(node);
  if (at == drained.end()) throw bad_input(fmt::format("{} is not drained", node), {}, "see 'nodes'");
  store_.set_drained(node, at->second, false);
  fleet_->undrain(node);
  for (const Fleet::Row& row : fleet_->rows())
    if (row.name == node)
      return row.state == "leaves" ? fmt::format("{} is taken back when it has left", node)
             : row.invited         ? fmt::format("{} may join again", node)
                                   : fmt::format("{} is started; 'nodes' shows when it is there", node);
  return fmt::format("{} is not drained any more; the host file of this process does not name it", node);
}

void RunNodes::keep_scale(const NodePlan& role, int64_t workers) {
  const int64_t stage = store_.ensure_stage(graph_.stages[static_cast<size_t>(role.stage)].name);
  ChangeRow change{store_.batch_count(stage), role.id + kReplicas,
                   role.attrs.has("replicas") ? role.attrs.text("replicas") : "0", std::to_string(workers)};
  for (const ChangeRow& row : store_.changes(stage))
    if (row.attribute == change.attribute) change.before = row.after;
  if (change.before != change.after) store_.add_changes(stage, {change});
}

void RunNodes::take_up_orders() {
  for (const auto& [role, names] : placement_) {
    const NodePlan& plan = graph_.nodes[static_cast<size_t>(role)];
    const int64_t stage = store_.ensure_stage(graph_.stages[static_cast<size_t>(plan.stage)].name);
    std::optional<std::string> workers;
    for (const ChangeRow& row : store_.changes(stage))
      if (row.attribute == plan.id + kReplicas) workers = row.after;
    if (workers)
      fleet_->members().scale(
          role, stored_integer(*workers, store_.place("changes", fmt::format("attribute='{}{}'", plan.id, kReplicas))));
  }
}

std::string RunNodes::scale(const std::string& role, int64_t workers) {
  std::vector<std::string> known;
  for (const auto& [node, names] : placement_) {
    const NodePlan& plan = graph_.nodes[static_cast<size_t>(node)];
    known.push_back(plan.id);
    if (plan.id != role) continue;
    if (ranks_at_nodes(plan) > 0)
      throw bad_input(fmt::format("how many ranks '{}' has is part of what it learns", role), {}, "ranks= in a new run");
    if (plan.role == "evaluator") throw bad_input(fmt::format("'{}' is done whole by one node", role));
    const std::vector<std::string> there = able(node);
    keep_scale(plan, workers);
    fleet_->members().scale(node, workers);
    return fmt::format("{}: {} (there {}: {})", role,
                       workers == 0   ? "all nodes that may do its work"
                       : workers == 1 ? "one node at a time"
                                      : fmt::format("{} nodes at a time", workers),
                       there.size() == 1 ? "is" : "are", fmt::join(there, ", "));
  }
  if (const NodePlan* const plan = graph_.node(role); plan != nullptr && !plan->artifact)
    throw bad_input(fmt::format("'{}' is not done by nodes: {}", role, stays_with_head(graph_, *plan)));
  const std::string near = nearest(role, known);
  throw bad_input(fmt::format("no role '{}' is done by nodes", role), {},
                  near.empty() ? fmt::format("one of {}", fmt::join(known, ", ")) : fmt::format("did you mean '{}'?", near));
}

int RunNodes::cores(int here) const {
  std::map<std::string, int> by_host;
  for (const Member& member : fleet_->members().list()) by_host[member.hello.host] += member.hello.cores;
  by_host.erase(node_hello(*env_.device, 0).host);  // they share the cores of this one
  int cores = here;
  for (const auto& [host, n] : by_host) cores += n;
  return cores;
}

}  // namespace r1
