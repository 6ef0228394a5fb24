#include "runtime/nodes/content.h"

#include <sodium.h>

#include <algorithm>

#include "base/hash.h"

namespace r1 {

std::string leaf_hash(std::string_view leaf) {
  static_assert(kLeafHashBytes == crypto_generichash_BYTES);
  [[maybe_unused]] static const int chosen = sodium_init();  // the code that fits the CPU
  std::string hash(kLeafHashBytes, '\0');
  crypto_generichash(reinterpret_cast<unsigned char*>(hash.data()), hash.size(),
                     reinterpret_cast<const unsigned char*>(leaf.data()), leaf.size(), nullptr, 0);
  return hash;
}

bool are_leaves(const std::vector<WireFrame>& frames, uint64_t offset, std::string_view hashes) {
  uint64_t leaf = offset / kLeafBytes;
  for (const WireFrame& frame : frames) {
    if ((leaf + 1) * kLeafHashBytes > hashes.size()) return false;
    if (leaf_hash(frame.bytes()) != hashes.substr(leaf++ * kLeafHashBytes, kLeafHashBytes)) return false;
  }
  return true;
}

std::vector<WireFrame> in_leaves(std::string bytes) {
  const WireFrame whole(std::move(bytes));
  std::vector<WireFrame> frames;
  for (uint64_t at = 0; at < whole.size(); at += kLeafBytes) frames.push_back(whole.part(at, kLeafBytes));
  return frames;
}

Content content_of(Packet packet) {
  std::vector<Hash128> parts;
  Content content;
  for (const std::string& frame : packet.frames) {
    content.bytes += frame.size();
    parts.push_back(hash_string(frame));
    parts.push_back({frame.size(), 0});
  }
  content.hash = hash_list(parts).hex();
  content.packet = std::make_shared<const Packet>(std::move(packet));
  return content;
}

std::vector<WireFrame> leaves_at(const std::shared_ptr<const Packet>& packet, uint64_t offset, uint64_t bytes) {
  std::vector<WireFrame> leaves;
  auto frame = packet->frames.begin();
  uint64_t begins = 0;  // of the frame
  for (const uint64_t end = offset + bytes; offset < end;) {
    const uint64_t leaf_end = std::min(end, (offset / kLeafBytes + 1) * kLeafBytes);
    std::string copied;  // of a leaf that lies in several frames
    while (offset < leaf_end) {
      while (frame != packet->frames.end() && begins + frame->size() <= offset) begins += (frame++)->size();
      if (frame == packet->frames.end()) break;
      const std::string_view there = std::string_view(*frame).substr(offset - begins, leaf_end - offset);
      offset += there.size();
      if (copied.empty() && offset == leaf_end)
        leaves.emplace_back(packet, there);
      else
        copied += there;
    }
    if (!copied.empty()) leaves.emplace_back(std::move(copied));
    if (frame == packet->frames.end()) break;
  }
  return leaves;
}

}  // namespace r1
