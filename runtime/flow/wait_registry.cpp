#include "runtime/flow/wait_registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

namespace r1 {
namespace {

// Roles take a message from their mailbox at once, so one that lies there for so long, with nothing else moving, is lost.
constexpr double kLostAfter_s = 5;

struct Wait {
  std::string reason, on;
  double since_s = 0;
};

struct Channel {
  std::string carries;
  int64_t capacity = 0, sent = 0, received = 0, released = 0;
  std::string last_sent, last_received;
  int64_t newest_received = 0;               // number of the newest message received
  std::map<int64_t, std::string> under_way;  // sent, not received: number -> what
};

struct StageState {
  double progress_s = 0;
  std::map<std::pair<std::string, std::string>, Wait> waits;  // (owner, key)
  std::map<std::string, Channel> channels;
  std::map<std::string, std::vector<std::string>> givers;  // of a role, in the order of its inputs
  std::set<std::string> finished;
};

bool is_job(const std::string& key) { return key.rfind("job ", 0) == 0; }

std::vector<std::string> lost_messages(const Channel& channel, bool all) {
  std::vector<std::string> lost;
  for (const auto& [number, what] : channel.under_way)
    if (all || number < channel.newest_received) lost.push_back(fmt::format("message {} ({})", number, what));
  return lost;
}

// "a waits for b, b waits for c": follows first waits from `owner`; names the cycle when it meets a node again.
std::string chain_from(const StageState& stage, const std::string& owner) {
  std::map<std::string, std::string> next;
  for (const auto& [who, wait] : stage.waits)
    if (!wait.on.empty() && wait.on != who.first) next.emplace(who.first, wait.on);
  std::vector<std::string> path{owner};
  std::set<std::string> seen{owner};
  for (auto at = next.find(owner); at != next.end(); at = next.find(at->second)) {
    path.push_back(at->second);
    if (!seen.insert(at->second).second) return fmt::format("cycle: {}", fmt::join(path, " waits for "));
  }
  return path.size() > 2 ? fmt::format("chain: {}", fmt::join(path, " waits for ")) : "";
}

// "judge has nothing to do: policy has nothing to do: prompts has finished"; "" when `node` has something to wait for itself.
std::string why_idle(const StageState& stage, const std::string& node, std::set<std::string>& seen) {
  if (stage.finished.contains(node)) return node + " has finished";
  for (const auto& [who, wait] : stage.waits)
    if (who.first == node) return {};
  const auto givers = stage.givers.find(node);
  if (givers == stage.givers.end()) return {};
  for (const std::string& from : givers->second)
    if (seen.insert(from).second)
      if (const std::string why = why_idle(stage, from, seen); !why.empty())
        return fmt::format("{} has nothing to do: {}", node, why);
  return {};
}

// What a wait for `node` stands in a report with.
std::string peer_text(const StageState& stage, const std::string& node) {
  if (node.empty()) return {};
  std::set<std::string> seen{node};
  const std::string why = why_idle(stage, node, seen);
  return why.empty() ? fmt::format(" (waits for {})", node) : fmt::format(" ({})", why);
}

}  // namespace

struct WaitRegistry::Impl {
  explicit Impl(const Clock& c) : clock(c) {}
  const Clock& clock;
  mutable std::mutex mutex;
  std::map<std::string, StageState> stages;

  StageState& stage(const std::string& name) {
    auto [at, fresh] = stages.try_emplace(name);
    if (fresh) at->second.progress_s = clock.now_s();
    return at->second;
  }
};

WaitRegistry::WaitRegistry(const Clock& clock) : impl_(std::make_unique<Impl>(clock)) {}
WaitRegistry::~WaitRegistry() = default;

void WaitRegistry::begin(const std::string& stage, const std::string& owner, const std::string& key, const std::string& reason,
                         const std::string& on) {
  std::lock_guard lock(impl_->mutex);
  auto [at, fresh] = impl_->stage(stage).waits.try_emplace({owner, key});
  if (!fresh && at->second.reason == reason && at->second.on == on) return;
  at->second = {reason, on, impl_->clock.now_s()};
}

void WaitRegistry::end(const std::string& stage, const std::string& owner, const std::string& key) {
  std::lock_guard lock(impl_->mutex);
  impl_->stage(stage).waits.erase({owner, key});
}

void WaitRegistry::progressed(const std::string& stage) {
  std::lock_guard lock(impl_->mutex);
  impl_->stage(stage).progress_s = impl_->clock.now_s();
}

void WaitRegistry::sent(const std::string& stage, const std::string& edge, const std::string& carries, int64_t capacity,
                        int64_t number, const std::string& what) {
  std::lock_guard lock(impl_->mutex);
  Channel& channel = impl_->stage(stage).channels[edge];
  channel.carries = carries;
  channel.capacity = capacity;
  ++channel.sent;
  channel.last_sent = what;
  channel.under_way.emplace(number, what);
}

void WaitRegistry::received(const std::string& stage, const std::string& edge, int64_t number, const std::string& what) {
  std::lock_guard lock(impl_->mutex);
  StageState& state = impl_->stage(stage);
  state.progress_s = impl_->clock.now_s();
  Channel& channel = state.channels[edge];
  ++channel.received;
  channel.last_received = what;
  channel.newest_received = std::max(channel.newest_received, number);
  channel.under_way.erase(number);
}

void WaitRegistry::released(const std::string& stage, const std::string& edge, int64_t n) {
  std::lock_guard lock(impl_->mutex);
  impl_->stage(stage).channels[edge].released += n;
}

void WaitRegistry::feeds(const std::string& stage, const std::string& from, const std::string& to) {
  std::lock_guard lock(impl_->mutex);
  impl_->stage(stage).givers[to].push_back(from);
}

void WaitRegistry::finished(const std::string& stage, const std::string& owner) {
  std::lock_guard lock(impl_->mutex);
  impl_->stage(stage).finished.insert(owner);
}

void WaitRegistry::forget(const std::string& stage) {
  std::lock_guard lock(impl_->mutex);
  impl_->stages.erase(stage);
}

std::vector<WaitRow> WaitRegistry::waits(const std::string& stage) const {
  std::lock_guard lock(impl_->mutex);
  const double now = impl_->clock.now_s();
  std::vector<WaitRow> rows;
  for (const auto& [name, state] : impl_->stages) {
    if (!stage.empty() && name != stage) continue;
    for (const auto& [who, wait] : state.waits)
      rows.push_back({who.first, who.second, wait.reason, wait.on, now - wait.since_s, now - state.progress_s});
  }
  return rows;
}

std::vector<ChannelRow> WaitRegistry::channels(const std::string& stage) const {
  std::lock_guard lock(impl_->mutex);
  const double now = impl_->clock.now_s();
  std::vector<ChannelRow> rows;
  for (const auto& [name, state] : impl_->stages) {
    if (!stage.empty() && name != stage) continue;
    for (const auto& [edge, c] : state.channels)
      rows.push_back({edge, c.carries, c.capacity, c.sent, c.received, c.released, c.last_sent, c.last_received,
                      lost_messages(c, now - state.progress_s > kLostAfter_s)});
  }
  return rows;
}

double WaitRegistry::idle_s(const std::string& stage) const {
  std::lock_guard lock(impl_->mutex);
  const auto at = impl_->stages.find(stage);
  return at == impl_->stages.end() ? 0 : impl_->clock.now_s() - at->second.progress_s;
}

std::string WaitRegistry::stall_report(const std::string& stage, double deadline_s, double job_deadline_s) const {
  std::lock_guard lock(impl_->mutex);
  const auto found = impl_->stages.find(stage);
  if (found == impl_->stages.end()) return {};
  const StageState& state = found->second;
  const double now = impl_->clock.now_s(), idle = now - state.progress_s;
  if (idle <= deadline_s) return {};
  // A job moves by its units, so it is late only where none was done for so long.
  for (const auto& [who, wait] : state.waits)
    if (is_job(who.second) && std::min(now - wait.since_s, idle) <= job_deadline_s) return {};

  std::string report =
      fmt::format("stage {} stands still: nothing moved for {:.3g} s (deadline {:.3g} s)", stage, idle, deadline_s);
  std::set<std::string> chains;
  for (const auto& [who, wait] : state.waits) {
    const std::string name = is_job(who.second) ? who.second : fmt::format("wait '{}'", who.second);
    report += fmt::format("\n  {}: {}, {}{}, for {:.3g} s", who.first, name, wait.reason, peer_text(state, wait.on),
                          now - wait.since_s);
    if (is_job(who.second)) report += fmt::format(", past its deadline of {:.3g} s (job_stall_s)", job_deadline_s);
    if (std::string chain = chain_from(state, who.first); !chain.empty()) chains.insert(std::move(chain));
  }
  std::set<std::string> roles, waiting;
  for (const auto& [to, from] : state.givers) roles.insert(to), roles.insert(from.begin(), from.end());
  for (const auto& [who, wait] : state.waits) waiting.insert(who.first);
  for (const std::string& role : roles)
    if (state.finished.count(role) == 0 && waiting.count(role) == 0)
      report += fmt::format("\n  {}: has not finished and does not say what it waits for", role);
  if (state.waits.empty() && roles.empty()) report += "\n  no role says that it waits for anything";
  for (const std::string& chain : chains) report += "\n  " + chain;
  for (const auto& [edge, channel] : state.channels)
    for (const std::string& lost : lost_messages(channel, true))
      report += fmt::format("\n  lost: {} of {} was sent and never received", lost, edge);
  return report;
}

}  // namespace r1
