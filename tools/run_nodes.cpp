#include "tools/run_nodes.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <thread>

#include "actors/node_roles.h"
#include "actors/wire.h"
#include "base/log.h"
#include "base/say.h"
#include "base/stored.h"
#include "runtime/nodes/hostfile.h"
#include "runtime/nodes/pool_role.h"
#include "tools/node_hello.h"

namespace r1 {

namespace fs = std::filesystem;

namespace {

constexpr const char* kEpochKey = "head_epoch";

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
  for (const HostEntry& host : hosts) ++of_host[host.host];
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<FleetEntry> entries;
  for (const HostEntry& host : hosts) {
    FleetEntry& e = entries.emplace_back();
    e.name = host.name;
    e.host = host.is_local() ? "" : host.host;
    e.user = host.user;
    e.port = host.port;
    e.threads = host.is_local() ? threads_of(host, hosts, cores) : host.slots.value_or(0);
    e.share = of_host.at(host.host);
    e.device = host.device;
    e.tags = host.tags;
  }
  return entries;
}

}  // namespace

NodesPlan plan_nodes(const fs::path& hostfile, const std::string& listen, const GraphView& graph) {
  NodesPlan plan;
  plan.entries = entries_of(read_hostfile(hostfile));
  const auto far = std::find_if(plan.entries.begin(), plan.entries.end(), [](const FleetEntry& e) { return !e.host.empty(); });
  if (!listen.empty()) plan.listen = parse_link_address(listen);
  if (far != plan.entries.end() && listen.empty())
    throw bad_input(fmt::format("nodes on '{}' cannot reach this process, which listens on loopback only", far->host),
                    {hostfile.string()}, "--listen HOST:PORT with an address of this machine that they reach");
  std::vector<int> roles;
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (stays_with_head(graph, graph.nodes[n]).empty()) roles.push_back(static_cast<int>(n));
  plan.placement = place_roles(graph, roles, plan.entries);
  return plan;
}

RunNodes::RunNodes(NodesPlan plan, const Options& options, const RunEnv& env, const GraphView& graph, RunStore& store,
                   const std::atomic<bool>& interrupted)
    : env_(env), graph_(graph), placement_(std::move(plan.placement)) {
  Fleet::Options fleet;
  fleet.run_dir = env.run_dir;
  fleet.entries = std::move(plan.entries);
  fleet.listen = plan.listen;
  fleet.self = node_hello(*env.device, cpu_threads());
  fleet.any_fingerprint = options.any_fingerprint;
  fleet.epoch = next_epoch(store);
  fleet.program = node_program();
  fleet.device = graph.attrs.text("device");
  fleet.places = [this](int node, const FleetEntry& entry) {
    const auto at = placement_.find(node);
    return at != placement_.end() && std::find(at->second.begin(), at->second.end(), entry.name) != at->second.end();
  };
  fleet_ = std::make_unique<Fleet>(std::move(fleet));
  const std::vector<Fleet::Row> rows = fleet_->join(interrupted);
  const std::string table = fleet_table(rows) + placement_text(graph, placement_);
  log_info("nodes:\n" + table);
  const auto missing = std::find_if(rows.begin(), rows.end(), [](const Fleet::Row& row) { return !row.here(); });
  const bool any = std::any_of(rows.begin(), rows.end(), [](const Fleet::Row& row) { return row.here(); });
  say("{}", table);
  if (interrupted || (any && (missing == rows.end() || options.allow_missing))) return;
  throw bad_input(fmt::format("{} on {} is not there: {}", missing->name, missing->host, missing->state), {},
                  any ? "mend it, take it out of the host file, or go on without it: --allow-missing" : "mend it");
}

RoleFactory RunNodes::factory(RoleFactory inner) {
  PoolWorld pool;
  pool.members = &fleet_->members();
  pool.codec = &message_codec();
  pool.opens = [this](const GraphView& graph, const NodePlan& node) {
    return open_role(env_, graph, node, env_.run_dir / "graph.graph");
  };
  return [pool, inner = std::move(inner)](const GraphView& graph, const NodePlan& node) -> std::unique_ptr<Role> {
    if (!stays_with_head(graph, node).empty()) return inner(graph, node);
    return std::make_unique<PoolRole>(pool);
  };
}

std::vector<ShellNode> RunNodes::shell_rows() const {
  std::vector<ShellNode> nodes;
  for (const Fleet::Row& row : fleet_->rows()) {
    ShellNode& node = nodes.emplace_back(ShellNode{row.name, row.host, row.pid, row.threads, row.state, "", row.lost});
    for (const auto& [role, names] : placement_)
      if (std::find(names.begin(), names.end(), row.name) != names.end())
        node.roles += (node.roles.empty() ? "" : ", ") + graph_.nodes[static_cast<size_t>(role)].id;
  }
  return nodes;
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
