#include "runtime/net/packet.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "runtime/flow/msgpack.h"

namespace r1 {
namespace {

constexpr size_t kInlineBody = 16 * 1024;
constexpr size_t kInlineSizes = 1024;
constexpr size_t kSharedFrame = 16 * 1024;  // smaller frames are copied into a common part
constexpr size_t kChecksumBytes = 9;        // the last item of a header: msgpack's uint 64
constexpr size_t kPieceOverhead = 64;
constexpr uint64_t kReserve = uint64_t{256} << 20;

uint64_t checksum(std::string_view header, const std::vector<WireFrame>& parts) {
  std::vector<Hash128> hashes = {hash_string(header)};
  for (const WireFrame& part : parts) hashes.push_back(hash_string(part.bytes()));
  return hash_list(hashes).lo;
}

bool is_packet_kind(uint8_t kind) { return !packet_kind_name(static_cast<PacketKind>(kind)).empty(); }

void put_u64(std::string& out, uint64_t value) {
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t get_u64(const char* bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

// Lays a stream into pieces: small frames together, large ones as views of themselves.
class Cutter {
 public:
  explicit Cutter(Piece first) { pieces_.push_back(std::move(first)); }

  void add(const WireFrame& frame) {
    if (frame.size() < kSharedFrame) {
      if (room() < frame.size()) flush();
      small_ += frame.bytes();
      return;
    }
    flush_small();
    for (size_t at = 0; at < frame.size();) {
      if (room() == 0) next_piece();
      const size_t n = std::min(frame.size() - at, room());
      put(frame.part(at, n));
      at += n;
    }
  }
  std::vector<Piece> take() {
    flush_small();
    return std::move(pieces_);
  }

 private:
  size_t room() const { return parts() == kMaxParts ? 0 : kPieceBytes - used_ - small_.size(); }
  size_t parts() const { return pieces_.back().parts.size() + (small_.empty() ? 0 : 1); }
  void put(WireFrame part) {
    used_ += part.size();
    pieces_.back().parts.push_back(std::move(part));
  }
  void flush_small() {
    if (small_.empty()) return;
    put(WireFrame(std::move(small_)));
    small_.clear();
  }
  void flush() {
    flush_small();
    next_piece();
  }
  void next_piece() {
    flush_small();
    Piece more;
    more.kind = PacketKind::more;
    pieces_.push_back(std::move(more));
    used_ = 0;
  }

  std::vector<Piece> pieces_;
  std::string small_;
  size_t used_ = 0;
};

}  // namespace

size_t WireMessage::bytes() const {
  size_t sum = header.size();
  for (const WireFrame& part : parts) sum += part.size();
  return sum;
}

size_t Piece::bytes() const {
  size_t sum = kPieceOverhead + body.size() + sizes.size() * sizeof(uint64_t);
  for (const WireFrame& part : parts) sum += part.size();
  return sum;
}

std::vector<Piece> cut_packet(LinkPacket packet) {
  R1_CHECK(packet.frames.size() <= kMaxPacketFrames, std::to_string(packet.frames.size()));
  size_t sum = packet.body.size();
  for (const WireFrame& frame : packet.frames) sum += frame.size();
  R1_CHECK(sum <= kMaxPacketBytes, std::to_string(sum));
  Piece first;
  first.kind = packet.kind;
  first.incarnation = packet.incarnation;
  first.node = packet.node;
  first.edge = packet.edge;
  first.number = packet.number;
  first.frames = packet.frames.size();
  std::string table;
  if (packet.frames.size() <= kInlineSizes) {
    for (const WireFrame& frame : packet.frames) first.sizes.push_back(frame.size());
  } else {
    table.reserve(packet.frames.size() * sizeof(uint64_t));
    for (const WireFrame& frame : packet.frames) put_u64(table, frame.size());
  }
  std::string body;
  if (packet.body.size() <= kInlineBody) {
    first.body = std::move(packet.body);
  } else {
    first.body_bytes = packet.body.size();
    body = std::move(packet.body);
  }
  Cutter cutter(std::move(first));
  if (!table.empty()) cutter.add(WireFrame(std::move(table)));
  if (!body.empty()) cutter.add(WireFrame(std::move(body)));
  for (const WireFrame& frame : packet.frames) cutter.add(frame);
  return cutter.take();
}

WireMessage encode_piece(const Piece& piece) {
  msgpack::sbuffer out;
  msgpack::packer<msgpack::sbuffer> pack(out);
  pack.pack_array(12);
  pack.pack(kWireVersion);
  pack.pack(static_cast<uint8_t>(piece.kind));
  pack.pack(piece.seq);
  pack.pack(piece.prev);
  pack.pack(piece.ack);
  pack.pack(piece.incarnation);
  pack.pack(piece.node);
  pack.pack(piece.edge);
  pack.pack(piece.number);
  if (piece.body_bytes > 0) {
    pack.pack(piece.body_bytes);
  } else {
    pack.pack_bin(static_cast<uint32_t>(piece.body.size()));
    pack.pack_bin_body(piece.body.data(), static_cast<uint32_t>(piece.body.size()));
  }
  if (piece.sizes.size() == piece.frames)
    pack.pack(piece.sizes);
  else
    pack.pack(piece.frames);
  const uint64_t sum = checksum({out.data(), out.size()}, piece.parts);
  pack.pack_fix_uint64(sum);
  return {std::string(out.data(), out.size()), piece.parts};
}

Piece decode_piece(WireMessage message) {
  if (message.header.size() > kMaxHeaderBytes) throw malformed_message("its header is too long");
  if (message.parts.size() > kMaxParts) throw malformed_message("it has too many parts");
  size_t sum = 0;
  for (const WireFrame& part : message.parts) sum += part.size();
  if (sum > kMaxPartBytes) throw malformed_message("its parts are too large");
  const Unpacked unpacked(message.header);
  Items items(unpacked.root());
  if (items.size() == 0) throw malformed_message("an empty header");
  const auto wire = items.next_as<uint32_t>();
  if (wire != kWireVersion)
    throw malformed_message("it is in version " + std::to_string(wire) + " of the format, not " + std::to_string(kWireVersion));
  if (items.size() != 11) throw malformed_message("an array has another length");
  Piece piece;
  const auto kind = items.next_as<uint8_t>();
  if (!is_packet_kind(kind)) throw malformed_message("an unknown kind of packet");
  piece.kind = static_cast<PacketKind>(kind);
  piece.seq = items.next_as<uint64_t>();
  piece.prev = items.next_as<uint64_t>();
  piece.ack = items.next_as<uint64_t>();
  piece.incarnation = items.next_as<uint64_t>();
  piece.node = items.next_as<int32_t>();
  piece.edge = items.next_as<int32_t>();
  piece.number = items.next_as<uint64_t>();
  const msgpack::object& body = items.next();
  if (body.type == msgpack::type::BIN) {
    piece.body.assign(body.via.bin.ptr, body.via.bin.size);
  } else if (body.type == msgpack::type::POSITIVE_INTEGER) {
    piece.body_bytes = body.via.u64;
    if (piece.body_bytes <= kInlineBody) throw malformed_message("a body is not where it belongs");
  } else {
    throw malformed_message("a body is neither bytes nor their number");
  }
  const msgpack::object& frames = items.next();
  if (frames.type == msgpack::type::POSITIVE_INTEGER) {
    piece.frames = frames.via.u64;
    if (piece.frames <= kInlineSizes) throw malformed_message("sizes of frames are not where they belong");
  } else {
    Items sizes(frames);
    piece.frames = sizes.size();
    if (piece.frames > kInlineSizes) throw malformed_message("sizes of frames are not where they belong");
    for (uint64_t i = 0; i < piece.frames; ++i) piece.sizes.push_back(sizes.next_as<uint64_t>());
  }
  // Only the form that was written is taken: the checksum is over what stands before those nine bytes.
  const size_t bytes = message.header.size();
  if (static_cast<uint8_t>(message.header[bytes - kChecksumBytes]) != 0xcf)
    throw malformed_message("a checksum has another form");
  if (items.next_as<uint64_t>() != checksum(std::string_view(message.header).substr(0, bytes - kChecksumBytes), message.parts))
    throw malformed_message("it has another checksum");
  if (piece.kind == PacketKind::more && (!piece.body.empty() || piece.body_bytes > 0 || piece.frames > 0))
    throw malformed_message("what continues a packet has a beginning of its own");
  piece.parts = std::move(message.parts);
  return piece;
}

void PacketReader::need(uint64_t bytes) {
  if (bytes > most_bytes_ || needed_ > most_bytes_ - bytes) throw malformed_message("a packet is larger than was agreed");
  needed_ += bytes;
}

void PacketReader::begin(Piece& piece) {
  open_ = true;
  needed_ = 0;
  at_ = 0;
  segments_.clear();
  packet_ = {};
  packet_.kind = piece.kind;
  packet_.incarnation = piece.incarnation;
  packet_.node = piece.node;
  packet_.edge = piece.edge;
  packet_.number = piece.number;
  packet_.body = std::move(piece.body);
  need(packet_.body.size());
  frames_ = piece.frames;
  body_bytes_ = piece.body_bytes;
  if (frames_ > kMaxPacketFrames) throw malformed_message("a packet has too many frames");
  sizes_to_come_ = piece.sizes.size() != frames_;
  body_to_come_ = body_bytes_ > 0;
  if (sizes_to_come_) {
    need(frames_ * sizeof(uint64_t));
    segments_.push_back({frames_ * sizeof(uint64_t)});
  }
  if (body_to_come_) {
    need(body_bytes_);
    segments_.push_back({body_bytes_});
  }
  for (const uint64_t size : piece.sizes) {
    need(size);
    segments_.push_back({size});
  }
}

void PacketReader::settle() {
  while (at_ < segments_.size()) {
    Segment& segment = segments_[at_];
    if (segment.shared ? false : segment.bytes.size() < segment.size) return;
    ++at_;
    if (!sizes_to_come_ || at_ != 1) continue;
    const Segment table = std::move(segments_[0]);
    const std::string_view bytes = table.shared ? table.whole.bytes() : std::string_view(table.bytes);
    sizes_to_come_ = false;
    segments_[0] = {};
    for (uint64_t i = 0; i < frames_; ++i) {
      const uint64_t size = get_u64(bytes.data() + i * sizeof(uint64_t));
      need(size);
      segments_.push_back({size});
    }
  }
}

void PacketReader::fill(const WireFrame& part) {
  for (size_t from = 0; from < part.size();) {
    settle();
    if (at_ == segments_.size()) throw malformed_message("more bytes than its packet has");
    Segment& segment = segments_[at_];
    const uint64_t missing = segment.size - segment.bytes.size();
    const size_t n = static_cast<size_t>(std::min<uint64_t>(missing, part.size() - from));
    if (n == segment.size) {
      segment.whole = part.part(from, n);
      segment.shared = true;
    } else {
      // Memory that was never written costs no more than address space, and of that not much.
      if (segment.bytes.empty()) segment.bytes.reserve(std::min(segment.size, kReserve));
      segment.bytes.append(part.bytes().substr(from, n));
    }
    from += n;
  }
}

std::optional<LinkPacket> PacketReader::finish() {
  settle();
  if (at_ < segments_.size()) return std::nullopt;
  size_t first = segments_.size() - frames_;
  if (body_to_come_) {
    Segment& body = segments_[first - 1];
    packet_.body = body.shared ? std::string(body.whole.bytes()) : std::move(body.bytes);
  }
  packet_.frames.reserve(frames_);
  for (; first < segments_.size(); ++first) {
    Segment& segment = segments_[first];
    packet_.frames.push_back(segment.shared ? std::move(segment.whole) : WireFrame(std::move(segment.bytes)));
  }
  segments_.clear();
  open_ = false;
  return std::move(packet_);
}

std::optional<LinkPacket> PacketReader::take(Piece piece) {
  if ((piece.kind == PacketKind::more) != open_)
    throw malformed_message(open_ ? "a packet begins within another" : "it continues what never began");
  if (!open_) begin(piece);
  for (const WireFrame& part : piece.parts) fill(part);
  return finish();
}

}  // namespace r1
