#include "base/rng.h"

#include <cmath>
#include <numbers>

namespace r1 {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  constexpr uint32_t m0 = 0xD2511F53u, m1 = 0xCD9E8D57u, w0 = 0x9E3779B9u, w1 = 0xBB67AE85u;
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(m0) * c[0];
    const uint64_t p1 = static_cast<uint64_t>(m1) * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k[0] += w0;
    k[1] += w1;
  }
  return c;
}

static uint64_t mix(uint64_t z) {  // splitmix64 finaliser
  z += 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

uint64_t rng_key(uint64_t seed, std::string_view purpose, uint64_t a, uint64_t b, uint64_t c) {
  uint64_t h = 0xCBF29CE484222325ull;  // FNV-1a over the purpose
  for (unsigned char ch : purpose) h = (h ^ ch) * 0x100000001B3ull;
  uint64_t key = mix(seed);
  for (uint64_t id : {h, a, b, c}) key = mix(key ^ id);
  return key;
}

uint32_t Rng::bits() {
  if (left_ == 0) {
    block_ = philox4x32({static_cast<uint32_t>(next_), static_cast<uint32_t>(next_ >> 32), 0, 0},
                        {static_cast<uint32_t>(key_), static_cast<uint32_t>(key_ >> 32)});
    ++next_;
    left_ = 4;
  }
  return block_[4 - left_--];
}

double Rng::uniform() {
  const uint32_t hi = bits();
  return unit_double(hi, bits());
}

uint64_t Rng::below(uint64_t n) {
  const uint64_t limit = UINT64_MAX - UINT64_MAX % n;  // rejects the last, incomplete interval
  for (;;) {
    const uint64_t hi = bits();
    const uint64_t x = (hi << 32) | bits();
    if (x < limit) return x % n;
  }
}

double Rng::normal() {
  const double u1 = 1.0 - uniform();  // (0,1]
  const double u2 = uniform();
  return std::sqrt(-2.0 * std::log(u1)) * std::cos(2.0 * std::numbers::pi * u2);
}

}  // namespace r1
