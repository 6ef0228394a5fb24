// One end of one link as a state machine: handshake, numbers, acknowledgement, window, beats and lease. Knows no socket, thread
// or clock: time comes in as an argument, what it wants to happen goes out as values; so the simulator and the tests run the
// very code that sockets do.
//
// Two lanes, each in order as TCP is: control and bulk, so that a beat never waits behind a set of weights. What a packet is
// cut into (runtime/net/packet.h) is numbered over both, so that packets come out in the order of send; a piece also names the
// one before it on its lane, so that a loss is seen with the next piece, and every beat says how many pieces there were, so
// that it is seen at the latest then. At most `window_bytes` are under way unacknowledged.
//
//   node                        head
//   HELLO on both lanes  ---->           WELCOME or REFUSE once both are there
//   beats, packets      <---->
// Thread rule: one thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/memory.h"
#include "runtime/net/link.h"
#include "runtime/net/packet.h"

namespace r1 {

enum class LinkLane : uint8_t { control = 0, bulk = 1 };
enum class LinkEnd : uint8_t { head, node };  // the one that is dialled, the one that dials

// The head's hold for both ends of a link: it sends the first three in its welcome.
struct LinkConfig {
  int64_t beat_ns = 500'000'000;
  int64_t lease_ns = 3'000'000'000;        // nothing heard for so long: the link is over
  size_t window_bytes = size_t{64} << 20;  // under way and not acknowledged, in each direction
  int64_t handshake_ns = 10'000'000'000;   // from the first sign of the other end to its welcome
  int64_t dial_ns = 30'000'000'000;        // of a node: how long it waits for an answer to its first hello
  size_t backlog_bytes = size_t{8} << 30;  // given to send and not yet sent, beside one packet that alone is more
  size_t packet_bytes = std::min<size_t>(kMaxPacketBytes, memory_limit());  // of a packet that comes in
};

// What this end says of itself and asks of the other.
struct LinkTerms {
  PeerHello self;
  bool any_fingerprint = false;  // of a head: lets in nodes whose arithmetic differs from its own
  // Of a head, after its own checks: why this peer is not let in, as "what; hint"; "" if it is. May be null.
  std::function<std::string(const PeerHello&)> objection;
  // Memory of this process, for beats. May be null: the other end does not hear of it.
  std::function<std::optional<int64_t>()> resident_bytes;
};

// How the two clocks lie: the other end's reads `offset_ns` more than this one's, give or take half of `round_trip_ns`.
struct PeerTimes {
  int64_t round_trip_ns = 0;
  int64_t offset_ns = 0;
};

struct LinkOutput {
  struct Up {
    PeerHello hello;
  };
  struct Lost {
    std::string why;
  };
  struct NotJoined {  // at the node
    std::string why;
    bool refused = false;
  };
  struct Refused {  // at the head: said no; the peer never was
    std::string why;
  };
  std::vector<std::pair<LinkLane, WireMessage>> transmit;
  using Event = std::variant<Up, LinkPacket, Lost, NotJoined, Refused>;
  std::vector<Event> events;  // what a sink is told, in order
};
// Refused is not for sinks.
void tell(LinkSink& sink, PeerId id, LinkOutput::Event event);

class LinkProtocol {
 public:
  // `principal`: of the other end, as its key says.
  LinkProtocol(LinkEnd end, LinkConfig config, LinkTerms terms, std::string principal, int64_t now_ns);

  void start(LinkOutput& out);  // a node's hello; a head waits
  void received(int64_t now_ns, LinkLane lane, WireMessage message, LinkOutput& out);
  void send(int64_t now_ns, LinkPacket packet, LinkOutput& out);  // without effect unless it is up
  void tick(int64_t now_ns, LinkOutput& out);                     // beats and deadlines
  int64_t next_tick_ns() const;
  // Says bye and ends it.
  void end(const std::string& why, LinkOutput& out);
  // Its connection is gone.
  void closed(const std::string& why, LinkOutput& out);

  bool up() const { return state_ == State::up; }
  bool over() const { return state_ == State::over; }
  const std::string& principal() const { return principal_; }
  const PeerHello& peer() const { return peer_; }  // since its hello
  std::optional<PeerTimes> times() const { return times_; }
  int64_t heard_ns() const { return heard_ns_; }                            // when the last message came, whatever it was
  std::optional<int64_t> resident_bytes() const { return peer_resident_; }  // of the other process, by its last beat
  size_t backlog_bytes() const { return backlog_bytes_; }
  size_t under_way_bytes() const { return under_way_bytes_; }

 private:
  enum class State { waiting, up, over };
  struct UnderWay {
    uint64_t seq = 0;
    size_t bytes = 0;
  };

  void take(int64_t now_ns, LinkLane lane, Piece piece, LinkOutput& out);
  void greeted(int64_t now_ns, LinkLane lane, const Piece& piece, LinkOutput& out);
  std::string objection() const;
  void welcomed(int64_t now_ns, const Piece& piece, LinkOutput& out);
  void begin(int64_t now_ns, LinkOutput& out);
  void in_order(LinkLane lane, const Piece& piece) const;
  void drain(int64_t now_ns, LinkOutput& out);
  void sequenced(int64_t now_ns, LinkLane lane, Piece piece, LinkOutput& out);
  void beat_heard(int64_t now_ns, const Piece& piece);
  void acknowledged(int64_t now_ns, uint64_t ack, LinkOutput& out);
  void pump(int64_t now_ns, LinkOutput& out);
  void transmit(LinkLane lane, Piece piece, LinkOutput& out);
  void link_word(LinkLane lane, PacketKind kind, std::string body, LinkOutput& out);
  void beat(int64_t now_ns, LinkOutput& out);
  void refuse(const std::string& why, LinkOutput& out);
  void leave(const std::string& why, LinkOutput& out);

  LinkEnd end_;
  LinkConfig config_;
  LinkTerms terms_;
  std::string principal_;
  State state_ = State::waiting;
  PeerHello peer_;
  bool greeted_[2] = {false, false};
  int64_t began_ns_, heard_ns_, beat_ns_ = 0;

  // Outwards.
  std::deque<std::pair<LinkLane, Piece>> backlog_;
  size_t backlog_bytes_ = 0;
  size_t largest_bytes_ = 0;  // of the packets that were more than the backlog may be
  std::deque<UnderWay> under_way_;
  size_t under_way_bytes_ = 0;
  int64_t acknowledged_ns_ = 0;  // when something was acknowledged, or nothing was under way
  uint64_t sent_ = 0;
  uint64_t last_sent_[2] = {0, 0};

  // Inwards.
  std::map<uint64_t, Piece> early_;
  size_t early_bytes_ = 0;
  uint64_t taken_ = 0;
  size_t taken_bytes_ = 0;  // since it was last acknowledged
  uint64_t last_heard_[2] = {0, 0};
  uint64_t peer_sent_ = 0;
  int64_t progress_ns_ = 0;  // when something was taken in, or nothing was missing
  PacketReader reader_;

  // Clocks.
  int64_t peer_beat_ns_ = 0, peer_beat_at_ns_ = 0;
  std::optional<int64_t> peer_resident_;
  std::optional<PeerTimes> times_;
};

}  // namespace r1
