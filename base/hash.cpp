#include "base/hash.h"

#include <xxhash.h>

#include <cstdio>
#include <vector>

namespace r1 {

std::string Hash128::hex() const {
  char s[33];
  std::snprintf(s, sizeof s, "%016llx%016llx", static_cast<unsigned long long>(hi), static_cast<unsigned long long>(lo));
  return s;
}

Hash128 hash_bytes(const void* data, size_t bytes) {
  const XXH128_hash_t h = XXH3_128bits(data, bytes);
  return {h.high64, h.low64};
}

Hash128 hash_list(std::span<const Hash128> parts) {
  std::vector<uint64_t> words;
  words.reserve(parts.size() * 2 + 1);
  words.push_back(parts.size());
  for (const Hash128& p : parts) {
    words.push_back(p.hi);
    words.push_back(p.lo);
  }
  return hash_bytes(words.data(), words.size() * sizeof(uint64_t));
}

}  // namespace r1
