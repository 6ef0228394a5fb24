#include "runtime/net/link_roster.h"

#include <fmt/format.h>

#include <algorithm>

namespace r1 {

LinkRoster::LinkRoster(LinkConfig config, LinkTerms terms, std::function<PeerId()> new_id, Act act)
    : config_(config), terms_(std::move(terms)), new_id_(std::move(new_id)), act_(std::move(act)) {}

LinkTerms LinkRoster::terms_for(PeerId id) {
  LinkTerms terms = terms_;
  terms.objection = [this, id](const PeerHello& hello) {
    std::string why = terms_.objection ? terms_.objection(hello) : std::string();
    return why.empty() ? key_in_use(id, hello) : why;
  };
  return terms;
}

std::string LinkRoster::key_in_use(PeerId id, const PeerHello& hello) {
  for (const auto& [other, link] : links_) {
    // Any number of shells may use the run's two keys for them.
    if (other == id || !link->up() || link->principal() != hello.principal || !hello.principal.starts_with("node:")) continue;
    const PeerHello& holder = link->peer();
    if (holder.nonce != hello.nonce)
      return fmt::format("the key of {} is in use by process {} on {}; a key belongs to one process", hello.principal,
                         holder.pid, holder.host);
    replaced_.push_back(other);
  }
  return {};
}

void LinkRoster::with(PeerId id, const std::function<void(LinkProtocol&, LinkOutput&)>& call) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  LinkOutput out;
  call(*found->second, out);
  if (found->second->over()) links_.erase(found);
  // A process that dials again has given up its link before: whoever is above hears of the end before it hears of the
  // beginning.
  for (const PeerId old : std::exchange(replaced_, {}))
    with(old, [](LinkProtocol& link, LinkOutput& last) { link.end("its process dialled again", last); });
  act_(id, std::move(out));
}

PeerId LinkRoster::connected(int64_t now_ns, const std::string& principal) {
  const PeerId id = new_id_();
  links_.emplace(id, std::make_unique<LinkProtocol>(LinkEnd::head, config_, terms_for(id), principal, now_ns));
  return id;
}

void LinkRoster::received(int64_t now_ns, PeerId id, LinkLane lane, WireMessage message) {
  with(id, [&](LinkProtocol& link, LinkOutput& out) { link.received(now_ns, lane, std::move(message), out); });
}

void LinkRoster::closed(PeerId id, const std::string& why) {
  with(id, [&](LinkProtocol& link, LinkOutput& out) { link.closed(why, out); });
}

void LinkRoster::send(int64_t now_ns, PeerId id, LinkPacket packet) {
  with(id, [&](LinkProtocol& link, LinkOutput& out) { link.send(now_ns, std::move(packet), out); });
}

void LinkRoster::drop(PeerId id, const std::string& why) {
  with(id, [&](LinkProtocol& link, LinkOutput& out) { link.end(why, out); });
}

void LinkRoster::drop_all(const std::string& why) {
  while (!links_.empty()) drop(links_.begin()->first, why);
}

void LinkRoster::tick(int64_t now_ns) {
  std::vector<PeerId> due;
  for (const auto& [id, link] : links_)
    if (link->next_tick_ns() <= now_ns) due.push_back(id);
  for (const PeerId id : due) with(id, [&](LinkProtocol& link, LinkOutput& out) { link.tick(now_ns, out); });
}

int64_t LinkRoster::next_tick_ns() const {
  int64_t next = INT64_MAX;
  for (const auto& [id, link] : links_) next = std::min(next, link->next_tick_ns());
  return next;
}

std::optional<PeerTimes> LinkRoster::times(PeerId id) const {
  const auto found = links_.find(id);
  return found == links_.end() ? std::nullopt : found->second->times();
}

std::optional<int64_t> LinkRoster::heard_ns(PeerId id) const {
  const auto found = links_.find(id);
  if (found == links_.end() || !found->second->up()) return std::nullopt;
  return found->second->heard_ns();
}

std::optional<int64_t> LinkRoster::resident_bytes(PeerId id) const {
  const auto found = links_.find(id);
  return found == links_.end() ? std::nullopt : found->second->resident_bytes();
}

}  // namespace r1
