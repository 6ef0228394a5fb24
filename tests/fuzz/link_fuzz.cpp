// What comes over a link. The first byte says which way the rest is read: as a message of its own (header and one part), or as
// a script of pieces with checksums that fit, which a head takes in after or before its greeting. A link ends, or it goes on;
// nothing else happens, and no packet that was not sent whole comes out.
#include <cstring>

#include "runtime/net/link_protocol.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace r1;

constexpr size_t kMostBytes = 1 << 20;

class Script {
 public:
  Script(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  uint8_t byte() {
    if (empty()) return 0;
    --size_;
    return *data_++;
  }
  // Small numbers often, any number sometimes.
  uint64_t number() {
    const uint8_t first = byte();
    if (first < 250) return first % 32;
    uint64_t value = 0;
    for (int i = 0; i < (first - 249) + 2; ++i) value = value << 8 | byte();
    return first == 255 ? ~value : value;
  }
  std::string text(size_t most) {
    std::string s(std::min<size_t>(most, size_), '\0');
    for (char& c : s) c = static_cast<char>(byte());
    return s;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

Piece piece_of(Script& script) {
  Piece piece;
  piece.kind = static_cast<PacketKind>(script.byte());
  piece.seq = script.number();
  piece.prev = script.number();
  piece.ack = script.number();
  piece.number = script.number();
  if (script.byte() % 4 == 0)
    piece.body_bytes = script.number();
  else
    piece.body = script.text(script.byte());
  piece.frames = script.number();
  if (piece.frames <= 1024)
    for (uint64_t i = 0; i < piece.frames; ++i) piece.sizes.push_back(script.number());
  for (int n = script.byte() % 4; n > 0; --n) piece.parts.emplace_back(script.text(script.byte()));
  return piece;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Script script(data, size);
  const uint8_t way = script.byte();
  if (way % 2 == 0) {
    const std::string header = script.text(script.byte() + 256 * (way / 2 % 4));
    try {
      const Piece piece = decode_piece({header, {WireFrame(script.text(1 << 16))}});
      PacketReader(kMostBytes).take(piece);
    } catch (const Error& e) {
      if (e.message().empty()) fuzz::finding("no reason");
    }
    return 0;
  }
  LinkConfig config;
  config.packet_bytes = kMostBytes;
  config.window_bytes = kMostBytes;
  LinkProtocol head(LinkEnd::head, config, {}, "node:a", 0), node(LinkEnd::node, config, {}, "head", 0);
  LinkOutput out, answer;
  if (way % 4 == 1) {
    node.start(out);
    for (auto& [lane, message] : out.transmit) head.received(0, lane, std::move(message), answer);
    if (!head.up()) fuzz::finding("two equal ends do not greet each other");
  }
  for (int64_t now = 0; !script.empty(); now += 1'000'000) {
    const LinkLane lane = script.byte() % 2 == 0 ? LinkLane::control : LinkLane::bulk;
    const bool was_over = head.over();
    LinkOutput heard;
    head.received(now, lane, encode_piece(piece_of(script)), heard);
    if (was_over && !(heard.events.empty() && heard.transmit.empty())) fuzz::finding("a link that is over does something");
    size_t ends = 0;
    for (const auto& event : heard.events) {
      if (const auto* packet = std::get_if<LinkPacket>(&event)) {
        size_t bytes = packet->body.size();
        for (const WireFrame& frame : packet->frames) bytes += frame.size();
        if (bytes > kMostBytes) fuzz::finding("a packet larger than was agreed");
      }
      ends += std::holds_alternative<LinkOutput::Lost>(event) || std::holds_alternative<LinkOutput::Refused>(event) ? 1 : 0;
    }
    if (ends != (head.over() && !was_over ? 1u : 0u)) fuzz::finding("an end that is not told once");
  }
  return 0;
}
