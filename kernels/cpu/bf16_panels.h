// What blocked bf16 products share, whatever the width of their registers (bf16_matmul.cpp, bf16_multiply_adds-inl.h): which
// rows and columns a call computes, and what it asks for from memory meanwhile. Thread rule: pure functions.
#pragma once

#include <xmmintrin.h>

#include <algorithm>
#include <cstdint>

namespace r1::cpu {

inline constexpr int64_t kRowBlock = 256;

// Of the sums of a call: where they are in the output.
struct Place {
  int64_t row, n0, n;
};

// What is asked for from memory while a call computes: kLanes * lines rows of a or b, ld apart.
struct Ahead {
  const uint16_t* rows = nullptr;
  int64_t ld = 0, lines = 0;
};
// With pair i of depth; sixteen pairs are a cache line of each row.
template <int kLanes>
[[gnu::always_inline]] inline void fetch(const Ahead& ahead, int64_t i) {
  constexpr int64_t kEvery = 16 / kLanes;
  if (i % kEvery != 0) return;
  for (int64_t r = 0; r < ahead.lines; ++r) {
    const uint16_t* const line = ahead.rows + (i / kEvery % kLanes + kLanes * r) * ahead.ld + i / 16 * 32;
    _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
  }
}
// A share of the panel of b, stored [n,k], that comes next and begins at `next`: that of one of the first calls of this one.
template <int kLanes, int kParts>
Ahead share_of_next_panel(const uint16_t* next, int64_t ld, int64_t call, int64_t calls) {
  const auto share = [&](int64_t c) { return std::min<int64_t>(kParts, c * kParts / std::min<int64_t>(calls, kParts)); };
  const int64_t begin = share(call);
  return {next + kLanes * begin * ld, ld, share(call + 1) - begin};
}

}  // namespace r1::cpu
