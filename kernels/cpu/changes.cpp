#include "kernels/cpu/changes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/changes.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class Bits>
HWY_INLINE uint64_t changes_of_word(const Bits* previous, const Bits* next, size_t n) {
  uint64_t mask = 0;
  for (size_t i = 0; i < n; ++i) mask |= static_cast<uint64_t>(previous[i] != next[i]) << i;
  return mask;
}

template <class Bits>
HWY_INLINE void change_masks_of(const Bits* previous, const Bits* next, size_t n, uint64_t* masks) {
  const size_t whole = n / 64;
#if HWY_TARGET == HWY_SCALAR
  for (size_t w = 0; w < whole; ++w) masks[w] = changes_of_word(previous + w * 64, next + w * 64, 64);
#else
  const hn::CappedTag<Bits, 64> d;
  constexpr size_t kLanes = hn::MaxLanes(hn::CappedTag<Bits, 64>());
  static_assert(kLanes % 8 == 0, "whole bytes of a mask");
  auto* const bits = reinterpret_cast<uint8_t*>(masks);
  for (size_t i = 0; i < whole * 64; i += kLanes)
    hn::StoreMaskBits(d, hn::Ne(hn::LoadU(d, previous + i), hn::LoadU(d, next + i)), bits + i / 8);
#endif
  if (whole * 64 < n) masks[whole] = changes_of_word(previous + whole * 64, next + whole * 64, n - whole * 64);
}
void change_masks_16(const uint16_t* previous, const uint16_t* next, size_t n, uint64_t* masks) {
  change_masks_of(previous, next, n, masks);
}
void change_masks_32(const uint32_t* previous, const uint32_t* next, size_t n, uint64_t* masks) {
  change_masks_of(previous, next, n, masks);
}

// Values are listed word by word while the memory system fetches the next ones.
template <class Bits>
HWY_INLINE size_t list_of(const Bits* previous, const Bits* next, size_t n, size_t most, uint32_t* places, Bits* before,
                          Bits* after) {
  size_t count = 0;
  for (size_t begin = 0; begin < n; begin += 64) {
    uint64_t mask = 0;
    if (n - begin < 64) {
      mask = changes_of_word(previous + begin, next + begin, n - begin);
    } else {
#if HWY_TARGET == HWY_SCALAR
      mask = changes_of_word(previous + begin, next + begin, 64);
#else
      const hn::CappedTag<Bits, 64> d;
      constexpr size_t kLanes = hn::MaxLanes(hn::CappedTag<Bits, 64>());
      for (size_t i = 0; i < 64; i += kLanes) {
        uint8_t bits[8];
        hn::StoreMaskBits(d, hn::Ne(hn::LoadU(d, previous + begin + i), hn::LoadU(d, next + begin + i)), bits);
        uint64_t part = 0;
        std::memcpy(&part, bits, kLanes / 8);
        mask |= part << i;
      }
#endif
    }
    if (mask == 0) continue;
    if (count + static_cast<size_t>(std::popcount(mask)) > most) return most + 1;
    for (; mask != 0; mask &= mask - 1) {
      const size_t i = begin + static_cast<size_t>(std::countr_zero(mask));
      places[count] = static_cast<uint32_t>(i);
      before[count] = previous[i];
      after[count] = next[i];
      ++count;
    }
  }
  return count;
}
size_t list_16(const uint16_t* previous, const uint16_t* next, size_t n, size_t most, uint32_t* places, uint16_t* before,
               uint16_t* after) {
  return list_of(previous, next, n, most, places, before, after);
}
size_t list_32(const uint32_t* previous, const uint32_t* next, size_t n, size_t most, uint32_t* places, uint32_t* before,
               uint32_t* after) {
  return list_of(previous, next, n, most, places, before, after);
}

// A plain loop: the compiler makes vectors of it.
template <class Bits>
HWY_INLINE ChangeSum sum_of(const uint32_t* places, const Bits* before, const Bits* after, size_t n, uint64_t first) {
  uint64_t a = 0, b = 0;
  for (size_t i = 0; i < n; ++i) {
    const uint64_t place = (first + places[i]) * kMarkPlace;
    uint64_t x = place + before[i] * kMarkValue, y = place + after[i] * kMarkValue;
    x ^= x >> 32;
    y ^= y >> 32;
    uint64_t xa = x * kMarkA, ya = y * kMarkA, xb = (x + kMarkStepB) * kMarkB, yb = (y + kMarkStepB) * kMarkB;
    xa ^= xa >> 29;
    ya ^= ya >> 29;
    xb ^= xb >> 31;
    yb ^= yb >> 31;
    a += (ya - xa) * kMarkEndA;
    b += (yb - xb) * kMarkEndB;
  }
  return {a, b};
}
ChangeSum sum_16(const uint32_t* places, const uint16_t* before, const uint16_t* after, size_t n, uint64_t first) {
  return sum_of(places, before, after, n, first);
}
ChangeSum sum_32(const uint32_t* places, const uint32_t* before, const uint32_t* after, size_t n, uint64_t first) {
  return sum_of(places, before, after, n, first);
}

template <class Bits>
HWY_INLINE int64_t first_not_finite_of(const Bits* x, int64_t n, Bits exponent) {
  constexpr int64_t kBlock = 4096;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(n, begin + kBlock);
    Bits any = 0;
    for (int64_t i = begin; i < end; ++i) any = static_cast<Bits>(any | ((x[i] & exponent) == exponent));
    if (any == 0) continue;
    for (int64_t i = begin; i < end; ++i)
      if ((x[i] & exponent) == exponent) return i;
  }
  return -1;
}
int64_t not_finite_16(const uint16_t* x, int64_t n) { return first_not_finite_of(x, n, uint16_t{0x7f80}); }
int64_t not_finite_32(const uint32_t* x, int64_t n) { return first_not_finite_of(x, n, uint32_t{0x7f800000}); }

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {

HWY_EXPORT(change_masks_16);
HWY_EXPORT(change_masks_32);
HWY_EXPORT(list_16);
HWY_EXPORT(list_32);
HWY_EXPORT(sum_16);
HWY_EXPORT(sum_32);
HWY_EXPORT(not_finite_16);
HWY_EXPORT(not_finite_32);

void change_masks(const uint16_t* previous, const uint16_t* next, size_t n, uint64_t* masks) {
  HWY_DYNAMIC_DISPATCH(change_masks_16)(previous, next, n, masks);
}
void change_masks(const uint32_t* previous, const uint32_t* next, size_t n, uint64_t* masks) {
  HWY_DYNAMIC_DISPATCH(change_masks_32)(previous, next, n, masks);
}
size_t list_changes(const uint16_t* previous, const uint16_t* next, size_t n, size_t most, uint32_t* places, uint16_t* before,
                    uint16_t* after) {
  return HWY_DYNAMIC_DISPATCH(list_16)(previous, next, n, most, places, before, after);
}
size_t list_changes(const uint32_t* previous, const uint32_t* next, size_t n, size_t most, uint32_t* places, uint32_t* before,
                    uint32_t* after) {
  return HWY_DYNAMIC_DISPATCH(list_32)(previous, next, n, most, places, before, after);
}
ChangeSum sum_of_changes(const uint32_t* places, const uint16_t* before, const uint16_t* after, size_t n, uint64_t first) {
  return HWY_DYNAMIC_DISPATCH(sum_16)(places, before, after, n, first);
}
ChangeSum sum_of_changes(const uint32_t* places, const uint32_t* before, const uint32_t* after, size_t n, uint64_t first) {
  return HWY_DYNAMIC_DISPATCH(sum_32)(places, before, after, n, first);
}
int64_t first_not_finite(const uint16_t* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(not_finite_16)(x, n); }
int64_t first_not_finite(const uint32_t* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(not_finite_32)(x, n); }

}  // namespace r1::cpu
#endif
