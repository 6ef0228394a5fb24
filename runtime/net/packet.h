// Packets as bytes and back (docs/formats.md, "Links"). What goes over a connection is a *piece*: a header (msgpack) and raw
// parts. A small packet is one piece; a large one is cut into pieces of about kPieceBytes that follow each other on one lane,
// so that other packets' beats pass between them and a receiver's memory is bounded by what it acknowledged. Not the protocol
// (runtime/net/link_protocol.h) and not how pieces travel.
// Thread rule: values; pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/net/link.h"

namespace r1 {

constexpr uint32_t kWireVersion = 1;
constexpr size_t kMaxHeaderBytes = 64 * 1024;
constexpr size_t kPieceBytes = size_t{1} << 20;    // what a sender puts into a piece, about
constexpr size_t kMaxPartBytes = size_t{4} << 20;  // what a receiver takes; of the parts of a piece together too
constexpr size_t kMaxParts = 64;

struct WireMessage {
  std::string header;
  std::vector<WireFrame> parts;
  size_t bytes() const;
};

// What stands in a header.
struct Piece {
  PacketKind kind = PacketKind::beat;
  uint64_t seq = 0;   // in the order of all pieces of this direction, from 1; 0: hello, welcome, refuse, beat, bye
  uint64_t prev = 0;  // seq of the piece before it on the same lane; 0: there was none
  uint64_t ack = 0;   // seq up to which the other direction's pieces were taken in
  uint64_t incarnation = 0;
  int32_t node = -1, edge = -1;
  uint64_t number = 0;
  std::string body;         // what is of moderate size; else it leads the stream of parts
  uint64_t body_bytes = 0;  // of such a body
  // Sizes of the packet's frames, where they are few; else only their count, and the sizes lead the stream of parts.
  std::vector<uint64_t> sizes;
  uint64_t frames = 0;
  std::vector<WireFrame> parts;  // the stream: [sizes, u64 little endian each] [body] frame*, cut anywhere
  size_t bytes() const;          // of body and parts, and a little for the rest
};

// What is beyond the limits of link.h is an invariant broken by the caller.
std::vector<Piece> cut_packet(LinkPacket packet);

WireMessage encode_piece(const Piece& piece);
// Throws failure for bytes that are no piece of this version of the format, are beyond the limits, or have another checksum.
// Takes no more memory than a small multiple of the header's.
Piece decode_piece(WireMessage message);

// Puts the pieces of packets together, one packet after the other.
class PacketReader {
 public:
  explicit PacketReader(size_t most_bytes = kMaxPacketBytes) : most_bytes_(most_bytes) {}
  // The packet that this piece completes. Throws failure when it does not continue what was there, or the packet is larger than
  // was agreed; then the reader is of no use any more.
  std::optional<LinkPacket> take(Piece piece);

 private:
  struct Segment {
    uint64_t size = 0;
    std::string bytes;  // as far as they came
    WireFrame whole;    // where one part held all of it
    bool shared = false;
  };
  void begin(Piece& piece);
  void fill(const WireFrame& part);
  void settle();
  void need(uint64_t bytes);
  std::optional<LinkPacket> finish();

  size_t most_bytes_;
  bool open_ = false;
  LinkPacket packet_;
  uint64_t needed_ = 0;  // bytes of the packet, as announced so far
  bool sizes_to_come_ = false, body_to_come_ = false;
  uint64_t frames_ = 0, body_bytes_ = 0;
  std::vector<Segment> segments_;
  size_t at_ = 0;
};

}  // namespace r1
