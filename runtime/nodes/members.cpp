#include "runtime/nodes/members.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "runtime/nodes/kept_states.h"

namespace r1 {

std::string Member::node() const {
  constexpr std::string_view kNode = "node:";
  return hello.principal.starts_with(kNode) ? hello.principal.substr(kNode.size()) : hello.host;
}
std::string Member::name() const { return fmt::format("{}/{}", node(), hello.pid); }

Error deserted_error(const std::string& work, const std::string& why) {
  return final_failure(fmt::format("no node is left that may do {}, and none will come: {}", work, why), {},
                       "mend it and give the same command: it goes on from the run store");
}

Members::Members(Options options)
    : options_(std::move(options)),
      contents_({options_.files, [this](PeerId peer, LinkPacket packet) { send(peer, std::move(packet)); },
                 [this](PeerId peer, const std::string& why) { drop(peer, why); }}) {}
Members::~Members() = default;

void Members::use(Links* links) {
  const std::lock_guard lock(mutex_);
  links_ = links;
}

bool Members::may_run(int node, const Member& member) const { return !options_.places || options_.places(node, member); }

void Members::add(int node, PoolEar& ear) {
  const std::lock_guard lock(mutex_);
  pools_.emplace(node, &ear);
  if (const auto at = scaled_.find(node); at != scaled_.end()) ear.scaled(at->second);
  for (const auto& [peer, member] : members_)
    if (draining_.count(peer) == 0 && may_run(node, member)) ear.joined(member);
  look_for_hope(node, ear);
}

void Members::look_for_hope(int node, PoolEar& ear) const {
  if (!options_.nobody_comes) return;
  for (const auto& [peer, member] : members_)
    if (may_run(node, member)) return;
  if (const std::string why = options_.nobody_comes(node); !why.empty()) ear.deserted(why);
}

void Members::fewer_may_come() {
  const std::lock_guard lock(mutex_);
  for (const auto& [node, ear] : pools_) look_for_hope(node, *ear);
}

void Members::remove(int node, PoolEar& ear) {
  const std::lock_guard lock(mutex_);
  for (auto [at, last] = pools_.equal_range(node); at != last; ++at)
    if (at->second == &ear) return static_cast<void>(pools_.erase(at));
}

Incarnation Members::open(PeerId peer, int node, const OpenRole& role, uint64_t rank) {
  for (const NodeFile& file : role.files) contents_.add_file(file.hash, file.path);
  const std::lock_guard lock(mutex_);
  LinkPacket packet;
  packet.kind = PacketKind::open;
  packet.incarnation = (options_.epoch << 32) + ++opened_;
  packet.node = node;
  packet.number = rank;
  packet.body = encode(role);
  const Incarnation incarnation = packet.incarnation;
  if (members_.count(peer) != 0) open_[peer][incarnation] = {node, rank};
  if (links_ != nullptr) links_->send(peer, std::move(packet));
  return incarnation;
}

void Members::send(PeerId peer, LinkPacket packet) {
  const std::lock_guard lock(mutex_);
  if (links_ != nullptr) links_->send(peer, std::move(packet));
}

void Members::drop(PeerId peer, const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (links_ != nullptr) links_->drop(peer, why);
}

size_t Members::roles_at(PeerId peer) const {
  const std::lock_guard lock(mutex_);
  const auto at = open_.find(peer);
  return at == open_.end() ? 0 : at->second.size();
}

bool Members::take_kept(PeerId peer, const std::string& content) {
  const std::lock_guard lock(mutex_);
  const auto member = members_.find(peer);
  return !content.empty() && member != members_.end() && std::erase(member->second.kept, content) > 0;
}

std::vector<Members::Part> Members::parts_at(PeerId peer) const {
  const std::lock_guard lock(mutex_);
  std::set<Part> parts;
  if (const auto at = open_.find(peer); at != open_.end())
    for (const auto& [incarnation, part] : at->second) parts.insert(part);
  return {parts.begin(), parts.end()};
}

void Members::drain(PeerId peer) {
  const std::lock_guard lock(mutex_);
  const auto member = members_.find(peer);
  if (member == members_.end() || !draining_.insert(peer).second) return;
  for (const auto& [node, ear] : pools_)
    if (may_run(node, member->second)) ear->leaves(member->second);
  for (const auto& [incarnation, part] : open_[peer]) {
    if (part.rank == 0 || links_ == nullptr) continue;
    LinkPacket packet = link_word(PacketKind::close, {});
    packet.incarnation = incarnation;
    packet.node = part.node;
    links_->send(peer, std::move(packet));
  }
  if (open_[peer].empty()) stop(peer);
}

bool Members::drains(PeerId peer) const {
  const std::lock_guard lock(mutex_);
  return draining_.count(peer) != 0;
}

void Members::scale(int node, int64_t workers) {
  const std::lock_guard lock(mutex_);
  scaled_[node] = workers;
  for (auto [at, last] = pools_.equal_range(node); at != last; ++at) at->second->scaled(workers);
}

std::vector<Member> Members::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<Member> all;
  for (const auto& [peer, member] : members_) all.push_back(member);
  return all;
}

int64_t Members::cpu_ns() const {
  const std::lock_guard lock(mutex_);
  int64_t sum = 0;
  for (const auto& [peer, ns] : cpu_ns_) sum += ns;
  return sum;
}

void Members::note_cpu(PeerId peer, int64_t cpu_ns) {
  const std::lock_guard lock(mutex_);
  int64_t& known = cpu_ns_[peer];
  known = std::max(known, cpu_ns);
}

void Members::stop_all() {
  const std::lock_guard lock(mutex_);
  for (const auto& [peer, member] : members_) stop(peer);
}

void Members::stop(PeerId peer) {
  LinkPacket packet;
  packet.kind = PacketKind::stop;
  if (links_ != nullptr) links_->send(peer, std::move(packet));
}

// ---- what the links say -----------------------------------------------------------------------------------------------

void Members::peer_up(PeerId peer, const PeerHello& hello) {
  Member member{peer, hello, {}};
  try {
    member.kept = kept_contents(hello.extra);
  } catch (const Error& e) {
    return drop(peer, e.what());
  }
  contents_.joined(peer, member.name(), hello.host);
  if (options_.told) options_.told(member, true, "");
  const std::lock_guard lock(mutex_);
  members_[peer] = member;
  if (options_.unwanted && options_.unwanted(member)) {
    draining_.insert(peer);
    return stop(peer);
  }
  for (const auto& [node, ear] : pools_)
    if (may_run(node, member)) ear->joined(member);
}

void Members::peer_lost(PeerId peer, const std::string& why) {
  Member member;
  {
    const std::lock_guard lock(mutex_);
    const auto at = members_.find(peer);
    if (at == members_.end()) return;
    member = std::move(at->second);
    members_.erase(at);
    open_.erase(peer);
    for (const auto& [node, ear] : pools_) ear->left(member, why);
  }
  contents_.lost(peer);
  if (options_.told) options_.told(member, false, why);
  const std::lock_guard lock(mutex_);
  draining_.erase(peer);
  for (const auto& [node, ear] : pools_) look_for_hope(node, *ear);
}

void Members::received(PeerId peer, LinkPacket packet) {
  if (contents_.heard(peer, packet)) return;
  if (packet.kind == PacketKind::leave) return drain(peer);
  const std::lock_guard lock(mutex_);
  const auto member = members_.find(peer);
  if (member == members_.end()) return;
  if (packet.kind == PacketKind::closed) {
    open_[peer].erase(packet.incarnation);
    if (draining_.count(peer) != 0 && open_[peer].empty()) stop(peer);
    return;
  }
  for (auto [at, last] = pools_.equal_range(packet.node); at != last; ++at) at->second->received(member->second, packet);
}

void Members::not_joined(const std::string&, bool) {}

}  // namespace r1
