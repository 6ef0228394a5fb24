// How a chunk of a version delta is coded (docs/formats.md, "Version deltas"): what the ops DeltaMeasure, DeltaEncode and
// DeltaApply agree on with models/version_delta.h. Not the header of a delta.
//
// A chunk is kDeltaChunk values (the last one fewer), coded by the cheapest of four modes. A gap is the number of unchanged
// values since the last changed one; a difference is the zigzag difference of the bit patterns as integers of the value's width
// (mod 2^16 or 2^32), so small steps take one byte and any step fits. Integers are little-endian, varints LEB128.
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
  gaps = 1,    // varint count, count x varint gap, count x varint difference: few changed
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
  overlap,
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
    case DeltaStatus::overlap:
      return "gaps and differences overlap";
    case DeltaStatus::left_over:
      return "bytes are left over";
  }
  return "?";
}

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

}  // namespace r1
