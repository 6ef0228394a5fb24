// How a chunk of a version delta is coded (docs/formats.md, "Version deltas"): what the ops DeltaMeasure, DeltaEncode and
// DeltaApply agree on with models/version_delta.h. Not the header of a delta.
//
// A chunk is kDeltaChunk values (the last one fewer), coded by the cheapest of four modes. A gap is the number of unchanged
// values since the last changed one: a byte, before which 255 stands once for every 255 of them. A difference is the zigzag
// difference of the bit patterns as integers of the value's width (mod 2^16 or 2^32), so small steps take one byte and any step
// fits. Integers are little-endian, varints LEB128.
//
// The change sum of two versions is the sum of value_mark(i, next) - value_mark(i, previous) over all values, in two words
// mod 2^64: what an incremental hash of the set of (place, value) pairs moves by. Values that do not change add nothing, and
// the order does not matter.
// Thread rule: pure functions.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace r1 {

inline constexpr int64_t kDeltaChunk = int64_t{1} << 16;

enum class DeltaMode : int32_t {
  same = 0,    // nothing: no value changed
  gaps = 1,    // varint count, count x gap, count x varint difference: few changed
  bitmap = 2,  // one bit a value, then a varint difference a changed value: many changed
  raw = 3,     // the values: nearly all changed, or there is no previous version
};

// What DeltaApply says of a chunk. Anything but `ok`: the bytes are not what an encoder writes.
enum class DeltaStatus : int32_t {
  ok,
  cut_short,
  unknown_mode,
  raw_size,
  bitmap_short,
  bitmap_long,
  varint_short,
  varint_range,
  varint_long,
  zero_difference,
  too_many_changes,
  change_outside,
  gaps_short,
  left_over,
};
inline const char* delta_status_text(DeltaStatus s) {
  switch (s) {
    case DeltaStatus::ok:
      return "well formed";
    case DeltaStatus::cut_short:
      return "cut short";
    case DeltaStatus::unknown_mode:
      return "an unknown kind of chunk";
    case DeltaStatus::raw_size:
      return "a raw chunk of the wrong size";
    case DeltaStatus::bitmap_short:
      return "a bitmap is cut short";
    case DeltaStatus::bitmap_long:
      return "a bitmap is longer than its chunk";
    case DeltaStatus::varint_short:
      return "a varint is cut short";
    case DeltaStatus::varint_range:
      return "a varint is out of range";
    case DeltaStatus::varint_long:
      return "a varint is too long";
    case DeltaStatus::zero_difference:
      return "a difference of zero";
    case DeltaStatus::too_many_changes:
      return "more changes than values";
    case DeltaStatus::change_outside:
      return "a change lies outside its chunk";
    case DeltaStatus::gaps_short:
      return "gaps are cut short";
    case DeltaStatus::left_over:
      return "bytes are left over";
  }
  return "?";
}

inline size_t gap_size(uint64_t gap) { return static_cast<size_t>(gap / 255) + 1; }
inline size_t varint_size(uint64_t v) { return v < 128 ? 1 : (static_cast<size_t>(std::bit_width(v)) + 6) / 7; }

// The difference of two bit patterns, small in magnitude -> small in value. Never 0 for different patterns.
template <class Bits>
Bits zigzag_difference(Bits from, Bits to) {
  const auto d = static_cast<std::make_signed_t<Bits>>(static_cast<Bits>(to - from));
  return static_cast<Bits>((static_cast<Bits>(d) << 1) ^ static_cast<Bits>(d < 0 ? ~Bits{0} : Bits{0}));
}
template <class Bits>
Bits undo_zigzag(Bits from, Bits z) {
  return static_cast<Bits>(from + static_cast<Bits>((z >> 1) ^ static_cast<Bits>(-(z & 1))));
}

// Two words of a hash of (place, bit pattern): multiplications and shifts, so that single steps of a value spread over all
// bits.
struct ChangeSum {
  uint64_t a = 0, b = 0;
  bool operator==(const ChangeSum&) const = default;
  ChangeSum& operator+=(const ChangeSum& o) {
    a += o.a;
    b += o.b;
    return *this;
  }
};
inline constexpr uint64_t kMarkPlace = 0x9e3779b97f4a7c15u, kMarkValue = 0xd1342543de82ef95u, kMarkA = 0xd6e8feb86659fd93u,
                          kMarkEndA = 0xff51afd7ed558ccdu, kMarkStepB = 0xa0761d6478bd642fu, kMarkB = 0xe7037ed1a0b428dbu,
                          kMarkEndB = 0xc4ceb9fe1a85ec53u;
inline ChangeSum value_mark(uint64_t place, uint64_t bits) {
  uint64_t x = place * kMarkPlace + bits * kMarkValue;
  x ^= x >> 32;
  uint64_t y = x * kMarkA, z = (x + kMarkStepB) * kMarkB;
  y ^= y >> 29;
  z ^= z >> 31;
  return {y * kMarkEndA, z * kMarkEndB};
}

}  // namespace r1
