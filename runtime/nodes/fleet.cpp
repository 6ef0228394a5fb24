#include "runtime/nodes/fleet.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "runtime/nodes/slurm.h"

namespace r1 {
namespace {

constexpr int kMostFruitless = 3;  // starts of one node that do not join, then it is given up
constexpr size_t kMostNamed = 3;   // nodes in one message
constexpr double kLeave_s = 3;     // for nodes to go when the run is over, before they are ended

bool here(const FleetEntry& entry) { return entry.host.empty(); }

}  // namespace

Fleet::Fleet(Options options)
    : options_(std::move(options)),
      keys_(options_.run_dir),
      files_(make_thread_executor("node files")),
      drained_(options_.drained) {
  keys_.fill(ring_);
  for (const FleetEntry& plan : options_.entries) {
    Entry& entry = entries_.emplace_back();
    entry.plan = plan;
    entry.row.name = plan.name;
    entry.row.host = here(plan) ? "localhost" : plan.host;
    entry.leaving = entry.row.drained = stays_away(entry, entry.row.host);
    entry.row.state = entry.leaving ? "drained" : "starts";
  }
  for (int64_t i = 1; i <= options_.invitations; ++i) {
    Entry& entry = entries_.emplace_back();
    entry.plan.name = fmt::format("join{}", i);
    entry.row.name = entry.plan.name;
    entry.row.host = "-";
    entry.row.drained = drained_.count(entry.plan.name) != 0;
    entry.row.state = entry.row.drained ? "drained" : "may join";
    entry.plan.invited = entry.row.invited = true;
    keys_.invite(entry.plan.name, ring_);
  }
  Members::Options members;
  members.epoch = options_.epoch;
  members.files = files_.get();
  members.places = [this](int node, const Member& member) {
    if (!options_.places) return true;
    const std::lock_guard lock(mutex_);
    const Entry* const entry = entry_of(member.hello.principal);
    return entry == nullptr || options_.places(node, entry->plan);
  };
  members.told = [this](const Member& member, bool up, const std::string& why) { told(member, up, why); };
  members.unwanted = [this](const Member& member) {
    const std::lock_guard lock(mutex_);
    const Entry* const entry = entry_of(member.hello.principal);
    return entry != nullptr && entry->row.drained;
  };
  members.nobody_comes = [this](int node) { return nobody_comes(node); };
  members_ = std::make_unique<Members>(std::move(members));
  ZmqHeadOptions head;
  head.listen = options_.listen;
  head.keys = keys_.head();
  LinkTerms terms;
  terms.self = options_.self;
  terms.any_fingerprint = options_.any_fingerprint;
  links_ = zmq_listen(std::move(head), ring_, std::move(terms), *members_);
  members_->use(links_.get());
  const std::lock_guard lock(mutex_);
  launcher_ = std::make_unique<Launcher>(*this, options_.launcher);
  for (Entry& entry : entries_)
    if (!entry.row.invited && !entry.row.drained) launch(entry);
}

Fleet::~Fleet() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  members_->stop_all();
  for (int i = 0; i < kLeave_s * 50 && !members_->list().empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  launcher_.reset();
  members_->use(nullptr);
  links_.reset();
  files_.reset();
  for (const Entry& entry : entries_)
    if (entry.row.invited) keys_.take_back(entry.plan.name);
}

bool Fleet::drain(const std::string& name) {
  PeerId peer = 0;
  {
    const std::lock_guard lock(mutex_);
    for (Entry& entry : entries_) {
      if (entry.plan.name != name || entry.peer == 0) continue;
      entry.leaving = entry.row.drained = true;
      entry.row.state = "leaves";
      drained_[name] = entry.row.host;
      peer = entry.peer;
    }
  }
  if (peer != 0) members_->drain(peer);
  return peer != 0;
}

bool Fleet::undrain(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (drained_.erase(name) == 0) return false;
  for (Entry& entry : entries_) {
    if (entry.plan.name != name) continue;
    entry.row.drained = false;
    if (entry.launch != 0 || entry.peer != 0) continue;  // one that still leaves is started again when it has left
    entry.row.state = entry.row.invited ? "may join" : "starts";
    if (!entry.row.invited) start_again(entry);
  }
  return true;
}

bool Fleet::stays_away(const Entry& entry, const std::string& host) const {
  const auto at = drained_.find(entry.plan.name);
  return at != drained_.end() && at->second == host;
}

Fleet::Entry* Fleet::entry_of(const std::string& principal) {
  for (Entry& entry : entries_)
    if (principal == "node:" + entry.plan.name) return &entry;
  return nullptr;
}

void Fleet::launch(Entry& entry) {
  const FleetEntry& plan = entry.plan;
  entry.leaving = entry.given_up = false;
  const CurveKeys keys = keys_.new_node(plan.name, ring_);
  LaunchSpec spec;
  spec.name = plan.name;
  if (here(plan)) {
    spec.words = {options_.program.string(), "--stdin"};
  } else {
    spec.host = plan.host;
    if (plan.slurm) spec.way = LaunchSpec::Way::srun;
    spec.user = plan.user;
    spec.port = plan.port;
    // The machines of a Slurm job see the same files as a rule; and srun, unlike sshd, has no login shell to ask for a PATH.
    spec.words = {plan.slurm ? options_.program.string() : "r1-node", "--stdin"};
  }
  LinkAddress head = links_->address();
  if (!here(plan) && !options_.address.empty()) head.host = options_.address;
  spec.line = nlohmann::json{{"name", plan.name},
                             {"head", head.text()},
                             {"head_key", keys_.head().public_key},
                             {"public_key", keys.public_key},
                             {"secret_key", keys.secret_key},
                             {"threads", plan.threads},
                             {"share", plan.share},
                             {"address", plan.address},
                             {"ports", plan.ports.any() ? "" : plan.ports.text()},
                             {"device", plan.device.empty() ? options_.device : plan.device}}
                  .dump();
  entry.launch = launcher_->start(std::move(spec));
}

std::vector<Fleet::Row> Fleet::rows() const {
  const std::lock_guard lock(mutex_);
  std::vector<Row> rows;
  for (const Entry& entry : entries_) {
    Row& row = rows.emplace_back(entry.row);
    if (const auto silent = links_->silent_ns(entry.peer)) row.silent_s = static_cast<double>(*silent) * 1e-9;
    row.resident_bytes = links_->resident_bytes(entry.peer);
  }
  return rows;
}

std::vector<Fleet::Row> Fleet::join(const std::atomic<bool>& interrupted) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(options_.join_s);
  for (;;) {
    std::vector<Row> now = rows();
    const bool late = std::chrono::steady_clock::now() > until;
    if (late)
      for (Row& row : now)
        if (row.state == "starts") row.state = fmt::format("it has not joined within {:g} s", options_.join_s);
    const bool settled = std::none_of(now.begin(), now.end(), [](const Row& row) { return row.state == "starts"; });
    if (late || settled || interrupted) return now;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void Fleet::told(const Member& member, bool up, const std::string& why) {
  const bool drained = !up && members_->drains(member.peer);
  const std::lock_guard lock(mutex_);
  Entry* const entry = entry_of(member.hello.principal);
  if (entry == nullptr || ending_) return;
  if (up) {
    entry->peer = member.peer;
    if (entry->row.invited) {
      entry->row.host = member.hello.host;
      entry->row.drained = stays_away(*entry, entry->row.host);
    }
    entry->leaving = entry->row.drained;
    entry->joined = entry->launch;
    entry->fruitless = 0;
    entry->row.pid = member.hello.pid;
    entry->row.threads = member.hello.cores;
    entry->row.fingerprint = member.hello.fingerprint;
    entry->row.state = entry->leaving ? "leaves" : "ok";
    log_info(fmt::format("node {} on {} joins: process {}, {} threads, {}", entry->plan.name, member.hello.host,
                         member.hello.pid, member.hello.cores, member.hello.fingerprint));
    if (entry->leaving)
      log_warn(fmt::format("node {} was drained: 'undrain {}' in r1-shell lets it in", entry->plan.name, entry->plan.name));
    log_flush();  // who is there may be looked for in the log of a run that goes on
    return;
  }
  if (entry->peer == member.peer) entry->peer = 0;
  if (entry->leaving || drained) {
    entry->row.pid = 0;
    entry->row.state = entry->row.drained ? "drained, has left" : entry->row.invited ? "has left, may join" : "has left";
    entry->leaving = true;
    log_info(fmt::format("node {} on {} has left", entry->plan.name, member.hello.host));
    log_flush();
    return;
  }
  ++entry->row.lost;
  if (entry->row.invited) {
    entry->row.pid = 0;
    entry->row.state = "is lost, may join";
    log_warn(fmt::format("node {} on {} is lost: {}", entry->plan.name, member.hello.host, why));
    return;
  }
  log_warn(fmt::format("node {} on {} is lost: {}", entry->plan.name, member.hello.host, why));
  if (entry->joined != entry->launch) return;  // its end was seen before, and it is started again
  entry->row.pid = 0;
  entry->row.state = "is lost";
  launcher_->end(entry->launch);  // one that is alone with its work; ended() starts it again
}

void Fleet::started(LaunchId, const std::string&) {}

void Fleet::said(LaunchId launch, const std::string& line) {
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_)
    if (entry.launch == launch)
      log_info(fmt::format("[{} {}/{}] {}", entry.plan.name, entry.row.host, launcher_->pid(launch), line));
}

void Fleet::ended(LaunchId id, const std::string& how) {
  {
    const std::lock_guard lock(mutex_);
    if (ending_) return;
    for (Entry& entry : entries_)
      if (entry.launch == id) has_ended(entry, how);
  }
  members_->fewer_may_come();
}

void Fleet::has_ended(Entry& entry, const std::string& how) {
  entry.launch = 0;
  entry.row.pid = 0;
  if (entry.leaving && entry.row.drained) return;
  if (std::exchange(entry.leaving, false)) {  // undrained before it had left
    log_info(fmt::format("node {} on {} is started again", entry.plan.name, entry.row.host));
    entry.row.state = "starts";
    return start_again(entry);
  }
  entry.row.state = how;
  const bool over = entry.plan.slurm && slurm_job_is_over(how);
  if (entry.joined == 0 || over || ++entry.fruitless > kMostFruitless) {
    entry.given_up = true;
    log_error(fmt::format("node {} on {} is gone and not started again: {}", entry.plan.name, entry.row.host, how));
    return;
  }
  log_warn(fmt::format("node {} on {} ended ({}); it is started again", entry.plan.name, entry.row.host, how));
  entry.row.state = "is lost, starts again";
  start_again(entry);
}

std::string Fleet::nobody_comes(int node) const {
  const std::lock_guard lock(mutex_);
  std::string why;
  size_t named = 0;
  for (const Entry& entry : entries_) {
    if (options_.places && !options_.places(node, entry.plan)) continue;
    if (!entry.given_up) return "";
    if (++named <= kMostNamed)
      why += fmt::format("{}{} on {}: {}", why.empty() ? "" : "; ", entry.plan.name, entry.row.host, entry.row.state);
  }
  if (named > kMostNamed) why += fmt::format("; and {} more", named - kMostNamed);
  return why;
}

void Fleet::start_again(Entry& entry) {
  try {
    launch(entry);
  } catch (const Error& e) {
    entry.given_up = true;
    entry.row.state = e.what();
    log_error(e.what());
  }
}

std::string fleet_table(const std::vector<Fleet::Row>& rows) {
  size_t name = 4, host = 4;
  for (const Fleet::Row& row : rows) {
    name = std::max(name, row.name.size());
    host = std::max(host, row.host.size());
  }
  std::string text =
      fmt::format("{:<{}}  {:<{}}  {:>8}  {:>7}  {}\n", "node", name, "host", host, "process", "threads", "state");
  for (const Fleet::Row& row : rows)
    text += fmt::format("{:<{}}  {:<{}}  {:>8}  {:>7}  {}\n", row.name, name, row.host, host,
                        row.pid > 0 ? std::to_string(row.pid) : "-", row.threads > 0 ? std::to_string(row.threads) : "-",
                        row.here() ? row.fingerprint : row.state);
  return text;
}

}  // namespace r1
