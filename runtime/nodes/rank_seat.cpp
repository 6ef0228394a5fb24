#include "runtime/nodes/rank_seat.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/wait_note.h"

namespace r1 {
RankSeat::RankSeat(Options options) : options_(std::move(options)) {
  options_.members->add(options_.node, *this);
  try {
    sit_down();
  } catch (...) {
    options_.members->remove(options_.node, *this);
    throw;
  }
}

RankSeat::~RankSeat() {
  options_.members->remove(options_.node, *this);
  LinkPacket packet;
  packet.kind = PacketKind::close;
  packet.incarnation = incarnation_;
  packet.node = options_.node;
  options_.members->send(peer_, std::move(packet));
}

void RankSeat::sit_down() {
  std::vector<Member> able;
  {
    std::unique_lock lock(mutex_);
    WaitNote note(options_.name);
    if (there_.empty()) {
      log_info(fmt::format("{} waits for a node that may have it", options_.name));
      note.say("for a node that may have it");
    }
    changed_.wait_or_stop(lock, Condition::kForEver, [this] { return !there_.empty() || !deserted_.empty(); });
    if (there_.empty()) throw deserted_error("the work of " + options_.name, deserted_);
    for (const auto& [peer, member] : there_) able.push_back(member);
  }
  const auto burden = [this](const Member& m) {
    return std::make_pair(m.node() != options_.preferred, options_.members->roles_at(m.peer));
  };
  const Member best =
      *std::min_element(able.begin(), able.end(), [&](const Member& a, const Member& b) { return burden(a) < burden(b); });
  {
    const std::lock_guard lock(mutex_);
    if (there_.count(best.peer) == 0)
      throw failure(fmt::format("{} at {} is lost before it began", options_.name, best.name()));
    peer_ = best.peer;
    at_ = best.name();
  }
  const Incarnation incarnation =
      options_.members->open(best.peer, options_.node, options_.open, static_cast<uint64_t>(options_.rank));
  std::vector<LinkPacket> early;
  {
    const std::lock_guard lock(mutex_);
    incarnation_ = incarnation;
    for (LinkPacket& packet : early_) hear(std::move(packet));
    early_.clear();
  }
  log_info(fmt::format("{} lives at {}", options_.name, at_));
}

void RankSeat::send(ChannelMessage message) {
  options_.members->send(peer_, rank_packet(incarnation_, options_.node, std::move(message)));
}

ChannelMessage RankSeat::receive(double patience_s) {
  for (;;) {
    ChannelMessage message = came_.take(patience_s);
    options_.members->note_cpu(peer_, cpu_ns_);
    if (!message.text.empty()) return message;
    moved_ = false;
    next_unit();
  }
}

void RankSeat::give_up() {
  came_.end_at_once(std::make_exception_ptr(failure(fmt::format("{} was waited for when another rank failed", options_.name))));
}

// ---- what the links say, on their thread, under the lock of the members

void RankSeat::joined(const Member& member) {
  {
    const std::lock_guard lock(mutex_);
    there_[member.peer] = member;
  }
  changed_.notify_all();
}

void RankSeat::deserted(const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    deserted_ = why;
  }
  changed_.notify_all();
}

void RankSeat::left(const Member& member, const std::string& why) { gone(member, why); }
void RankSeat::leaves(const Member& member) { gone(member, "it is to leave"); }

void RankSeat::gone(const Member& member, const std::string& why) {
  const std::lock_guard lock(mutex_);
  there_.erase(member.peer);
  if (member.peer != peer_) return;
  came_.end_at_once(std::make_exception_ptr(failure(fmt::format("{} at {} is lost: {}", options_.name, member.name(), why), {},
                                                    "it begins again, at this or another node")));
}

void RankSeat::received(const Member& member, LinkPacket packet) {
  const std::lock_guard lock(mutex_);
  if (member.peer != peer_) return;
  if (incarnation_ == 0)
    early_.push_back(std::move(packet));
  else
    hear(std::move(packet));
}

void RankSeat::hear(LinkPacket packet) {
  if (packet.incarnation != incarnation_) return;
  if (packet.kind == PacketKind::failed) {
    std::exception_ptr why;
    try {
      why = decode_error(packet.body, at_);
    } catch (const Error&) {
      why = std::current_exception();
    }
    return came_.end(why);
  }
  if (packet.kind == PacketKind::records) {
    try {
      const RoleRecords records = decode_role_records(packet.body);
      cpu_ns_ = records.cpu_ns;
      if (records.moved && !moved_.exchange(true)) came_.put({});
    } catch (const Error&) {
      came_.end(std::current_exception());
    }
    return;
  }
  if (packet.kind != PacketKind::rank) return;
  cpu_ns_ = static_cast<int64_t>(packet.number);
  came_.put(rank_word(std::move(packet)));
}

}  // namespace r1
