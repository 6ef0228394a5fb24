// Bytes that repeat nothing and mean nothing, the same for the same seed.
#pragma once

#include <cstdint>
#include <string>

namespace r1::test {

inline std::string noise(uint64_t seed, size_t bytes) {
  std::string text(bytes, '\0');
  uint64_t x = seed * 0x9E3779B97F4A7C15u + 1;
  for (size_t i = 0; i < bytes; ++i) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    text[i] = static_cast<char>(x >> 56);
  }
  return text;
}

}  // namespace r1::test
