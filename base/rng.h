// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
//
// A number is a pure function of (key, counter): no state, no order of calls. What a random number is *for* is its key, so a
// sampled token depends on neither the batch it sat in nor the thread that drew it.
//
// Thread rule: pure functions; an Rng object belongs to one thread.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace r1 {

// One Philox4x32-10 block: 4 x 32 random bits.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Folds ids into a 64-bit key (splitmix64 finaliser per id); the same ids in the same order give the same key, forever.
uint64_t rng_key(uint64_t seed, std::string_view purpose, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0);

// u in [0,1) with 24 bits, from one 32-bit word.
inline float unit_float(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }
// u in [0,1) with 53 bits.
inline double unit_double(uint32_t hi, uint32_t lo) {
  return static_cast<double>(((static_cast<uint64_t>(hi) << 32) | lo) >> 11) * 0x1p-53;
}

// A stream of numbers under one key: the counter only walks forward. Copyable; a copy repeats.
class Rng {
 public:
  explicit Rng(uint64_t key) : key_(key) {}
  Rng(uint64_t seed, std::string_view purpose, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0)
      : key_(rng_key(seed, purpose, a, b, c)) {}

  uint32_t bits();
  double uniform();            // [0,1)
  uint64_t below(uint64_t n);  // [0,n), n >= 1; unbiased (rejection)
  bool chance(double p) { return uniform() < p; }
  double normal();  // standard normal (Box-Muller, one of the pair)
  // Index i with probability weights[i] / sum(weights).
  template <class Weights>
  size_t pick(const Weights& weights) {
    double total = 0;
    for (double w : weights) total += w;
    double u = uniform() * total;
    size_t i = 0;
    for (double w : weights) {
      if (u < w) return i;
      u -= w;
      ++i;
    }
    return i - 1;
  }
  // Fisher-Yates.
  template <class Vector>
  void shuffle(Vector& v) {
    for (size_t i = v.size(); i > 1; --i) std::swap(v[i - 1], v[below(i)]);
  }

 private:
  uint64_t key_;
  uint64_t next_ = 0;  // counter of the next block
  std::array<uint32_t, 4> block_{};
  int left_ = 0;
};

}  // namespace r1
