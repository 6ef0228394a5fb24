#include "runtime/net/link_protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "base/error.h"
#include "runtime/net/handshake.h"

namespace r1 {
namespace {

constexpr size_t kControlBytes = 64 * 1024;  // a packet of more goes on the bulk lane
constexpr int kPatience = 4;                 // leases until what is missing, or not acknowledged, ends a link that is heard
constexpr size_t kLooseBytes = kMaxPartBytes + kMaxHeaderBytes;

bool is_link_word(PacketKind kind) { return kind < PacketKind::more; }

Error broken(const std::string& why) {
  return failure("the link's protocol was broken: " + why, {},
                 "the two ends are of different builds, or it is not r1 that speaks");
}

Error lost_on_the_way(uint64_t before, uint64_t prev) {
  return broken(fmt::format("pieces between {} and {} are missing", before, prev));
}

}  // namespace

void tell(LinkSink& sink, PeerId id, LinkOutput::Event event) {
  if (auto* up = std::get_if<LinkOutput::Up>(&event)) sink.peer_up(id, up->hello);
  if (auto* packet = std::get_if<LinkPacket>(&event)) sink.received(id, std::move(*packet));
  if (auto* lost = std::get_if<LinkOutput::Lost>(&event)) sink.peer_lost(id, lost->why);
  if (auto* none = std::get_if<LinkOutput::NotJoined>(&event)) sink.not_joined(none->why, none->refused);
}

LinkProtocol::LinkProtocol(LinkEnd end, LinkConfig config, LinkTerms terms, std::string principal, int64_t now_ns)
    : end_(end),
      config_(config),
      terms_(std::move(terms)),
      principal_(std::move(principal)),
      began_ns_(now_ns),
      heard_ns_(now_ns),
      reader_(config.packet_bytes) {
  terms_.self.wire = kWireVersion;
}

void LinkProtocol::start(LinkOutput& out) {
  if (end_ == LinkEnd::head || state_ != State::waiting) return;
  link_word(LinkLane::bulk, PacketKind::hello, {}, out);
  link_word(LinkLane::control, PacketKind::hello, encode_hello(terms_.self), out);
}

void LinkProtocol::received(int64_t now_ns, LinkLane lane, WireMessage message, LinkOutput& out) {
  if (over()) return;
  try {
    take(now_ns, lane, decode_piece(std::move(message)), out);
  } catch (const Error& e) {
    if (state_ == State::waiting && end_ == LinkEnd::head)
      refuse(e.message() + "; " + e.hint(), out);
    else
      end(e.message(), out);
  } catch (const std::bad_alloc&) {
    end("there is no memory for what it sends", out);
  }
}

void LinkProtocol::take(int64_t now_ns, LinkLane lane, Piece piece, LinkOutput& out) {
  heard_ns_ = now_ns;
  if (is_link_word(piece.kind) != (piece.seq == 0)) throw broken("a number where none belongs, or none");
  if (piece.seq > 0) {
    // What is on the bulk lane may overtake a welcome.
    if (state_ == State::waiting && (end_ == LinkEnd::head || lane == LinkLane::control))
      throw broken("something came before the greeting");
    acknowledged(now_ns, piece.ack, out);
    sequenced(now_ns, lane, std::move(piece), out);
    return;
  }
  const bool waiting = state_ == State::waiting;
  if (piece.kind == PacketKind::hello && waiting && end_ == LinkEnd::head) {
    greeted(now_ns, lane, piece, out);
  } else if (piece.kind == PacketKind::welcome && waiting && end_ == LinkEnd::node && lane == LinkLane::control) {
    welcomed(now_ns, piece, out);
  } else if (piece.kind == PacketKind::refuse && waiting && end_ == LinkEnd::node) {
    state_ = State::over;
    out.events.push_back(LinkOutput::NotJoined{decode_reason(piece.body), true});
  } else if (piece.kind == PacketKind::bye) {
    leave("it left: " + decode_reason(piece.body), out);
  } else if (piece.kind == PacketKind::beat && !waiting && lane == LinkLane::control) {
    in_order(lane, piece);
    beat_heard(now_ns, piece);
    acknowledged(now_ns, piece.ack, out);
  } else {
    throw broken(fmt::format("a {} at the wrong time", packet_kind_name(piece.kind)));
  }
}

std::string LinkProtocol::objection() const {
  const PeerHello& self = terms_.self;
  if (peer_.build != self.build)
    return fmt::format("it is build '{}', the head is build '{}'; install the same r1 on both", peer_.build, self.build);
  if (principal_.starts_with("node:") && peer_.fingerprint != self.fingerprint && !terms_.any_fingerprint)
    return fmt::format(
        "its arithmetic is '{}', the head's is '{}': other bits would come out; use hosts with the same instruction set, "
        "or --accept-fingerprint if the bits do not matter",
        peer_.fingerprint, self.fingerprint);
  return terms_.objection ? terms_.objection(peer_) : std::string();
}

void LinkProtocol::greeted(int64_t now_ns, LinkLane lane, const Piece& piece, LinkOutput& out) {
  if (greeted_[static_cast<int>(lane)]) throw broken("it greets twice");
  greeted_[static_cast<int>(lane)] = true;
  if (lane == LinkLane::control) peer_ = decode_hello(piece.body, principal_);
  if (!greeted_[0] || !greeted_[1]) return;
  if (const std::string why = objection(); !why.empty()) {
    refuse(why, out);
    return;
  }
  link_word(LinkLane::control, PacketKind::welcome,
            encode_welcome({terms_.self, config_.beat_ns, config_.lease_ns, config_.window_bytes}), out);
  begin(now_ns, out);
}

void LinkProtocol::welcomed(int64_t now_ns, const Piece& piece, LinkOutput& out) {
  Welcome welcome = decode_welcome(piece.body, principal_);
  peer_ = std::move(welcome.hello);
  config_.beat_ns = welcome.beat_ns;
  config_.lease_ns = welcome.lease_ns;
  config_.window_bytes = welcome.window_bytes;
  begin(now_ns, out);
  drain(now_ns, out);
}

void LinkProtocol::begin(int64_t now_ns, LinkOutput& out) {
  state_ = State::up;
  progress_ns_ = acknowledged_ns_ = beat_ns_ = now_ns;
  out.events.push_back(LinkOutput::Up{peer_});
}

void LinkProtocol::in_order(LinkLane lane, const Piece& piece) const {
  const uint64_t before = last_heard_[static_cast<int>(lane)];
  if (piece.prev != before) throw lost_on_the_way(before, piece.prev);
}

void LinkProtocol::sequenced(int64_t now_ns, LinkLane lane, Piece piece, LinkOutput& out) {
  in_order(lane, piece);
  if (piece.seq <= piece.prev || piece.seq <= taken_ || early_.count(piece.seq) > 0) throw broken("a number comes twice");
  last_heard_[static_cast<int>(lane)] = piece.seq;
  early_bytes_ += piece.bytes();
  if (early_bytes_ > config_.window_bytes + kLooseBytes) throw broken("more is under way than the window allows");
  const uint64_t seq = piece.seq;
  early_.emplace(seq, std::move(piece));
  if (up()) drain(now_ns, out);
}

void LinkProtocol::drain(int64_t now_ns, LinkOutput& out) {
  while (!early_.empty() && early_.begin()->first == taken_ + 1) {
    auto node = early_.extract(early_.begin());
    const size_t bytes = node.mapped().bytes();
    early_bytes_ -= bytes;
    taken_bytes_ += bytes;
    ++taken_;
    progress_ns_ = now_ns;
    if (auto packet = reader_.take(std::move(node.mapped()))) out.events.push_back(std::move(*packet));
  }
  if (taken_bytes_ >= config_.window_bytes / 4) beat(now_ns, out);
}

void LinkProtocol::beat_heard(int64_t now_ns, const Piece& piece) {
  const Beat beat = decode_beat(piece.body);
  if (beat.sent < peer_sent_) throw broken("a beat counts backwards");
  peer_sent_ = beat.sent;
  peer_beat_ns_ = beat.now_ns;
  peer_beat_at_ns_ = now_ns;
  if (beat.resident_bytes > 0 && beat.resident_bytes <= INT64_MAX) peer_resident_ = static_cast<int64_t>(beat.resident_bytes);
  if (beat.echo_ns == 0 || beat.echo_ns > now_ns || beat.held_ns < 0 || beat.held_ns > now_ns - beat.echo_ns) return;
  const int64_t round_trip = now_ns - beat.echo_ns - beat.held_ns;
  // The shortest is the truest; what is old loses its weight, since clocks drift.
  if (times_ && round_trip > times_->round_trip_ns) {
    times_->round_trip_ns += (round_trip - times_->round_trip_ns) / 16;
    return;
  }
  times_ = {round_trip, beat.now_ns + round_trip / 2 - now_ns};
}

void LinkProtocol::acknowledged(int64_t now_ns, uint64_t ack, LinkOutput& out) {
  if (ack > sent_) throw broken("it acknowledges what was never sent");
  while (!under_way_.empty() && under_way_.front().seq <= ack) {
    under_way_bytes_ -= under_way_.front().bytes;
    under_way_.pop_front();
    acknowledged_ns_ = now_ns;
  }
  if (up()) pump(now_ns, out);
}

void LinkProtocol::send(int64_t now_ns, LinkPacket packet, LinkOutput& out) {
  if (!up()) return;
  R1_CHECK(packet.kind > PacketKind::more, std::string(packet_kind_name(packet.kind)));
  size_t bytes = packet.body.size();
  for (const WireFrame& frame : packet.frames) bytes += frame.size();
  const LinkLane lane = bytes > kControlBytes ? LinkLane::bulk : LinkLane::control;
  if (bytes > config_.backlog_bytes) largest_bytes_ = std::max(largest_bytes_, bytes);
  for (Piece& piece : cut_packet(std::move(packet))) {
    backlog_bytes_ += piece.bytes();
    backlog_.emplace_back(lane, std::move(piece));
  }
  pump(now_ns, out);
  if (backlog_bytes_ > config_.backlog_bytes + largest_bytes_)
    end(fmt::format("{} MiB wait for it: it takes in less than it is sent", backlog_bytes_ >> 20), out);
}

void LinkProtocol::pump(int64_t now_ns, LinkOutput& out) {
  while (!backlog_.empty()) {
    auto& [lane, piece] = backlog_.front();
    const size_t bytes = piece.bytes();
    if (!under_way_.empty() && under_way_bytes_ + bytes > config_.window_bytes) return;
    if (under_way_.empty()) acknowledged_ns_ = now_ns;
    piece.seq = ++sent_;
    under_way_.push_back({sent_, bytes});
    under_way_bytes_ += bytes;
    backlog_bytes_ -= bytes;
    transmit(lane, std::move(piece), out);
    backlog_.pop_front();
  }
}

void LinkProtocol::transmit(LinkLane lane, Piece piece, LinkOutput& out) {
  uint64_t& last = last_sent_[static_cast<int>(lane)];
  piece.prev = last;
  if (piece.seq > 0) last = piece.seq;
  piece.ack = taken_;
  taken_bytes_ = 0;
  out.transmit.emplace_back(lane, encode_piece(piece));
}

void LinkProtocol::link_word(LinkLane lane, PacketKind kind, std::string body, LinkOutput& out) {
  Piece piece;
  piece.kind = kind;
  piece.body = std::move(body);
  transmit(lane, std::move(piece), out);
}

void LinkProtocol::beat(int64_t now_ns, LinkOutput& out) {
  beat_ns_ = now_ns;
  const int64_t held = peer_beat_ns_ == 0 ? 0 : now_ns - peer_beat_at_ns_;
  const int64_t resident = terms_.resident_bytes ? terms_.resident_bytes().value_or(0) : 0;
  link_word(LinkLane::control, PacketKind::beat,
            encode_beat({now_ns, peer_beat_ns_, held, sent_, static_cast<uint64_t>(resident)}), out);
}

void LinkProtocol::tick(int64_t now_ns, LinkOutput& out) {
  if (over()) return;
  if (state_ == State::waiting) {
    const int64_t patience = end_ == LinkEnd::head ? config_.handshake_ns : config_.dial_ns;
    if (now_ns - began_ns_ >= patience)
      end(fmt::format("no {} within {:g} s", end_ == LinkEnd::head ? "whole greeting" : "answer", patience * 1e-9), out);
    return;
  }
  if (early_.empty() && taken_ >= peer_sent_) progress_ns_ = now_ns;
  if (under_way_.empty()) acknowledged_ns_ = now_ns;
  const int64_t patience = kPatience * config_.lease_ns;
  if (now_ns - heard_ns_ >= config_.lease_ns)
    end(fmt::format("nothing was heard of it for {:g} s", config_.lease_ns * 1e-9), out);
  else if (now_ns - progress_ns_ >= patience)
    end(fmt::format("piece {} of {} did not come for {:g} s", taken_ + 1, std::max(peer_sent_, taken_ + 1), patience * 1e-9),
        out);
  else if (now_ns - acknowledged_ns_ >= patience)
    end(fmt::format("piece {} was not acknowledged for {:g} s", under_way_.front().seq, patience * 1e-9), out);
  else if (now_ns - beat_ns_ >= config_.beat_ns)
    beat(now_ns, out);
}

int64_t LinkProtocol::next_tick_ns() const {
  if (over()) return INT64_MAX;
  if (state_ == State::waiting) return began_ns_ + (end_ == LinkEnd::head ? config_.handshake_ns : config_.dial_ns);
  return std::min(beat_ns_ + config_.beat_ns, heard_ns_ + config_.lease_ns);
}

void LinkProtocol::refuse(const std::string& why, LinkOutput& out) {
  link_word(LinkLane::control, PacketKind::refuse, encode_reason(why), out);
  state_ = State::over;
  out.events.push_back(LinkOutput::Refused{why});
}

void LinkProtocol::end(const std::string& why, LinkOutput& out) {
  if (over()) return;
  link_word(LinkLane::control, PacketKind::bye, encode_reason(why), out);
  leave(why, out);
}

void LinkProtocol::closed(const std::string& why, LinkOutput& out) { leave(why, out); }

void LinkProtocol::leave(const std::string& why, LinkOutput& out) {
  if (over()) return;
  if (up())
    out.events.push_back(LinkOutput::Lost{why});
  else if (end_ == LinkEnd::head)
    out.events.push_back(LinkOutput::Refused{why});
  else
    out.events.push_back(LinkOutput::NotJoined{why, false});
  state_ = State::over;
  backlog_.clear();
  early_.clear();
  backlog_bytes_ = early_bytes_ = 0;
}

}  // namespace r1
