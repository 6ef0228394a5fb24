// Links: what a process of a run says to its other processes, and what it hears of them. The head has one link to each node;
// a node has one, to the head. Below this interface stands the protocol (runtime/net/link_protocol.h: numbers, acknowledgement,
// checksums, beats, leases, the handshake), and below that what carries it: sockets or, in tests and simulations, memory
// (runtime/net/memory_links.h). Knows no edges, roles or payloads: it carries their numbers.
//
// The fault model has two values: either every packet of a link arrives, in order, or the link is over. Nothing is sent again.
//
// Thread rule: Links: any thread, also from inside a call of the sink. A LinkSink is called by one thread at a time, one call
// after the other, and does not block there.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace r1 {

// One connection of one process; never used again in this process. 0: none.
using PeerId = uint64_t;

enum class PacketKind : uint8_t {
  // The link's own; a sink never sees them.
  hello = 1,
  welcome,
  refuse,
  beat,
  bye,
  more,  // bytes of the packet before it
  // A node as a whole.
  stop = 16,
  leave,  // it asks to be told to stop, when what it has at hand is done
  // An opened role.
  open = 32,
  ready,
  close,
  closed,
  payload,
  credit,
  stage_end,
  finished,
  failed,
  records,
  ask,
  answer,
  whole,    // the newest payload of the edge, again, as a whole
  rank,     // a word between a trainer and a rank of it at a node
  held,     // in the place of a payload: what the node said in its greeting that it holds
  content,  // a payload whose frames are to be fetched
  // What is fetched by content, of the head or of another node.
  get = 64,
  blob,
  no_blob,
  want,     // of a node: it is to be told whom to ask
  parents,  // of the head: these, or it
  have,     // of a node: it has all of it
  listen,   // of the head: another node is to be let in
  listens,  // of a node: it is
  forget,   // of the head: a content in memory, or a key
  // Shells.
  command = 80,
  reply,
  watch,
  update,
  unwatch,
  token,
};
// "payload"; "" for what is no kind.
std::string_view packet_kind_name(PacketKind kind);

// Raw bytes, immutable and shared: copying one copies no bytes, and the same one may be sent to many peers.
class WireFrame {
 public:
  WireFrame() = default;
  explicit WireFrame(std::string bytes) {
    auto owned = std::make_shared<const std::string>(std::move(bytes));
    bytes_ = *owned;
    owner_ = std::move(owned);
  }
  // `bytes` are there, and stay as they are, for as long as `owner` lives.
  WireFrame(std::shared_ptr<const void> owner, std::string_view bytes) : owner_(std::move(owner)), bytes_(bytes) {}

  std::string_view bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  WireFrame part(size_t offset, size_t size) const { return {owner_, bytes_.substr(offset, size)}; }

 private:
  std::shared_ptr<const void> owner_;
  std::string_view bytes_;
};

// What is sent, as a whole: the link cuts what is large and puts it together again. Frames of at most 1 MiB are lent all the
// way, larger ones are copied at the receiver. At most kMaxPacketFrames frames and kMaxPacketBytes of body and frames together:
// more than a process has memory for, so a batch of any size goes, in frames of a size that goes with it (actors/wire.cpp).
struct LinkPacket {
  PacketKind kind = PacketKind::records;
  uint64_t incarnation = 0;  // of the opened role that it is about; 0: of none
  int32_t node = -1;         // index of the role in the graph
  int32_t edge = -1;         // index of the edge
  uint64_t number = 0;       // of a payload on its edge, or of a question
  std::string body;          // msgpack; for payloads Packet::header of runtime/flow/wire.h
  std::vector<WireFrame> frames;
};
constexpr size_t kMaxPacketFrames = size_t{1} << 20;
constexpr size_t kMaxPacketBytes = size_t{1} << 46;

// Packet::frames of runtime/flow/wire.h, and back (the second copies).
std::vector<WireFrame> wire_frames(std::vector<std::string> frames);
std::vector<std::string> frame_strings(const std::vector<WireFrame>& frames);

// The other process, as it describes itself - but for its principal, which is what its key says.
struct PeerHello {
  std::string principal;  // "node:NAME", "shell:control", "shell:read"; at a node: "head"
  uint32_t wire = 0;      // version of the wire format; equal at both ends
  std::string build;      // program_version(); equal at both ends
  std::string host;
  int64_t pid = 0;
  int32_t cores = 0;  // that it may use
  int64_t memory_bytes = 0;
  std::vector<std::string> devices;
  std::string fingerprint;  // of its arithmetic (base/fingerprint.h); "" when it computes nothing
  std::string nonce;        // one process's own, so that a key used twice is seen
  std::string extra;        // msgpack of whoever is above the link: at most kMaxHelloExtra bytes
};
constexpr size_t kMaxHelloExtra = 16 * 1024;

// This process: build, host and pid. The rest is for who computes.
PeerHello hello_of_this_process(std::string build);

// For each peer: peer_up once, received in the order of send and without a gap, peer_lost once - after it nothing.
class LinkSink {
 public:
  virtual ~LinkSink() = default;
  virtual void peer_up(PeerId peer, const PeerHello& hello) = 0;
  virtual void received(PeerId peer, LinkPacket packet) = 0;
  // `why`: for a log, "its connection closed", "nothing was heard of it for 3 s". Also after drop().
  virtual void peer_lost(PeerId peer, const std::string& why) = 0;
  // Of the end that dials: there is no link and there will be none. `refused`: the other end said no (another build, a key used
  // twice), so trying again is of no use; else nobody answered within the time given. No peer_up before it, nothing after.
  virtual void not_joined(const std::string& why, bool refused) = 0;
};

// The links of one end. Destroying it ends them all; the sink is not called any more.
class Links {
 public:
  virtual ~Links() = default;
  // Never blocks and never fails: what a peer does not take in waits here, up to a bound beyond which the peer is lost. To a
  // peer that is not there: nothing happens.
  virtual void send(PeerId peer, LinkPacket packet) = 0;
  // Says bye and ends the link; what waits for room is not sent any more. peer_lost follows, with `why`.
  virtual void drop(PeerId peer, const std::string& why) = 0;
  // Since anything was heard of a peer that is up; of one that is well it is little more than a beat at most. Absent: it is not
  // up, or this end does not look.
  virtual std::optional<int64_t> silent_ns(PeerId) const { return std::nullopt; }
  // Memory of a peer's process, as its last beat said. Absent: it did not, or this end does not look.
  virtual std::optional<int64_t> resident_bytes(PeerId) const { return std::nullopt; }
};

}  // namespace r1
