// P2's measure: the largest difference between the sampler's and the trainer's log-probability of the same token, and where.
// Thread rule: plain data.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace r1 {

struct LogprobGap {
  double max = 0;
  int64_t tokens = 0;                 // compared
  int64_t sequence = -1, token = -1;  // of the first of the largest gaps; -1 when there is none
  float trainer = 0, sampler = 0;     // the two log-probabilities there

  // Bits count: equal bits are no gap, a NaN on either side is an infinite one.
  void compare(float of_trainer, float of_sampler, int64_t at_sequence, int64_t at_token) {
    ++tokens;
    if (std::bit_cast<uint32_t>(of_trainer) == std::bit_cast<uint32_t>(of_sampler) && !std::isnan(of_trainer)) return;
    const double gap = std::abs(static_cast<double>(of_trainer) - static_cast<double>(of_sampler));
    note({std::isnan(gap) ? std::numeric_limits<double>::infinity() : gap, 0, at_sequence, at_token, of_trainer, of_sampler});
  }
  void add(const LogprobGap& other) {
    tokens += other.tokens;
    note(other);
  }

 private:
  void note(const LogprobGap& other) {
    if (other.sequence < 0 || (sequence >= 0 && other.max <= max)) return;
    const int64_t n = tokens;
    *this = other;
    tokens = n;
  }
};

}  // namespace r1
