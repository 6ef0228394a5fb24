// What nodes fetch by content - files, whole sets of weights - from the head or from each other: its name, its leaves of 1 MiB,
// each with a hash by which a piece is believed whoever sent it, and contents that are in memory. Not who fetches what from
// whom (content_server.h at the head, content_fetcher.h at a node).
//
// The hash of a leaf is BLAKE2b-256: a node that wants to harm another one cannot make bytes that fit. Names are XXH3-128, as
// everywhere: they come from the head alone. Thread rule: values, pure functions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/flow/wire.h"
#include "runtime/net/link.h"

namespace r1 {

constexpr uint64_t kLeafBytes = uint64_t{1} << 20;
constexpr uint64_t kPieceBytesOfContent = 4 * kLeafBytes;  // that one question asks for at most; all but the last do
constexpr size_t kLeafHashBytes = 32;

std::string leaf_hash(std::string_view leaf);
inline uint64_t leaves_of(uint64_t bytes) { return (bytes + kLeafBytes - 1) / kLeafBytes; }
inline uint64_t piece_at(uint64_t offset, uint64_t bytes) { return std::min(kPieceBytesOfContent, bytes - offset); }
// Whether the leaves from byte `offset` on, a frame each, are those of `hashes` (kLeafHashBytes each, of all leaves).
bool are_leaves(const std::vector<WireFrame>& frames, uint64_t offset, std::string_view hashes);
// Bytes as frames of one leaf each.
std::vector<WireFrame> in_leaves(std::string bytes);

// The frames of a packet one behind the other, and under which name; immutable. What is fetched gets the header later.
struct Content {
  std::string hash;  // of the frames and where they end: XXH3-128, hex
  uint64_t bytes = 0;
  std::shared_ptr<const Packet> packet;  // its frames
};
Content content_of(Packet packet);
// Bytes [offset, offset + bytes) as frames of one leaf each; `offset` begins a leaf. As far as `packet` has them: less where it
// ends.
std::vector<WireFrame> leaves_at(const std::shared_ptr<const Packet>& packet, uint64_t offset, uint64_t bytes);

}  // namespace r1
