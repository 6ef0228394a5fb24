// 128-bit content hashes (XXH3-128): fast, stable across machines, not cryptographic.
// Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace r1 {

struct Hash128 {
  uint64_t hi = 0, lo = 0;
  bool operator==(const Hash128&) const = default;
  auto operator<=>(const Hash128&) const = default;
  std::string hex() const;  // 32 hex digits
};

Hash128 hash_bytes(const void* data, size_t bytes);
inline Hash128 hash_string(std::string_view s) { return hash_bytes(s.data(), s.size()); }
// The hash of a list of hashes, in order: an inner node of a Merkle tree.
Hash128 hash_list(std::span<const Hash128> parts);

}  // namespace r1
