// Hash and difference of weight versions: spans and chunks are independent, so they are the tiles.
#include <algorithm>
#include <cstring>
#include <vector>

#include "base/hash.h"
#include "kernels/cpu/changes.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/threads.h"
#include "kernels/delta_format.h"

namespace r1::cpu {
namespace {

constexpr double kHashNsPerByte = 0.1, kMeasureNs = 0.1, kEncodeNs = 0.15, kApplyNs = 0.1;  // the last three a value

template <class Bits>
const Bits* bits_of(const View& v) {
  return reinterpret_cast<const Bits*>(v.data);
}

// Values of chunk c of n in all.
int64_t chunk_values(int64_t n, int64_t c) { return std::min(kDeltaChunk, n - c * kDeltaChunk); }

struct Code {
  DeltaMode mode = DeltaMode::same;
  size_t bytes = 0;
};

constexpr size_t kWords = kDeltaChunk / 64;

// The bytes of the differences of n <= 64 values. Free of branches and of carried bits, so that the compiler makes vectors of
// it.
template <class Bits>
size_t difference_bytes(const Bits* previous, const Bits* next, size_t n) {
  Bits bytes = 0;
  for (size_t i = 0; i < n; ++i) {
    const Bits z = zigzag_difference(previous[i], next[i]);
    bytes = static_cast<Bits>(bytes + (z != 0) + ((z >> 7) != 0) + ((z >> 14) != 0));
    if constexpr (sizeof(Bits) == 4) bytes = static_cast<Bits>(bytes + ((z >> 21) != 0) + ((z >> 28) != 0));
  }
  return bytes;
}
template <class Bits>
size_t all_difference_bytes(const Bits* previous, const Bits* next, size_t n) {
  size_t bytes = 0;
  for (size_t begin = 0; begin < n; begin += 64)
    bytes += difference_bytes(previous + begin, next + begin, std::min<size_t>(64, n - begin));
  return bytes;
}

// Values that changed.
template <class Bits>
struct ChangeList {
  explicit ChangeList(size_t most)
      : places(reinterpret_cast<uint32_t*>(scratch_bytes(ScratchSlot::a, most * (sizeof(uint32_t) + 2 * sizeof(Bits))))),
        before(reinterpret_cast<Bits*>(places + most)),
        after(before + most) {}
  // False where there are more than `most`.
  bool fill(const Bits* previous, const Bits* next, size_t n, size_t most) {
    count = list_changes(previous, next, n, most, places, before, after);
    return count <= most;
  }
  void add(size_t place, Bits from, Bits to) {
    places[count] = static_cast<uint32_t>(place);
    before[count] = from;
    after[count] = to;
    ++count;
  }
  ChangeSum sum(int64_t first) const { return sum_of_changes(places, before, after, count, static_cast<uint64_t>(first)); }

  uint32_t* places;
  Bits *before, *after;
  size_t count = 0;
};

template <class Bits>
Code measure_chunk(const Bits* previous, const Bits* next, size_t n) {
  const size_t raw_bytes = n * sizeof(Bits), bitmap_bytes = (n + 7) / 8;
  if (previous == nullptr) return {DeltaMode::raw, raw_bytes};
  size_t gap_bytes = bitmap_bytes + 1, bytes = 0;  // gaps: where there are so many changes, at least
  if (ChangeList<Bits> list(bitmap_bytes); list.fill(previous, next, n, bitmap_bytes)) {
    if (list.count == 0) return {};
    gap_bytes = varint_size(list.count);
    size_t expected = 0;
    for (size_t c = 0; c < list.count; ++c) {
      gap_bytes += gap_size(list.places[c] - expected);
      expected = list.places[c] + size_t{1};
    }
    bytes = all_difference_bytes(list.before, list.after, list.count);
  } else {
    bytes = all_difference_bytes(previous, next, n);
  }
  bytes += std::min(gap_bytes, bitmap_bytes);
  if (bytes >= raw_bytes) return {DeltaMode::raw, raw_bytes};
  return {bitmap_bytes <= gap_bytes ? DeltaMode::bitmap : DeltaMode::gaps, bytes};
}

uint8_t* put_varint(uint8_t* out, uint64_t v) {
  for (; v >= 128; v >>= 7) *out++ = static_cast<uint8_t>(v | 128);
  *out++ = static_cast<uint8_t>(v);
  return out;
}
uint8_t* put_gap(uint8_t* out, size_t gap) {
  for (; gap >= 255; gap -= 255) *out++ = 255;
  *out++ = static_cast<uint8_t>(gap);
  return out;
}
template <class Bits>
constexpr size_t kMaxVarint = (sizeof(Bits) * 8 + 6) / 7;
// As put_varint, without a branch; writes kMaxVarint bytes.
template <class Bits>
uint8_t* put_difference(uint8_t* out, Bits z) {
  size_t used = 0;
  for (size_t k = 0; k < kMaxVarint<Bits>; ++k) {
    const uint64_t rest = static_cast<uint64_t>(z) >> (7 * k);
    out[k] = static_cast<uint8_t>((rest & 127) | static_cast<uint64_t>(rest >= 128) << 7);
    used += k == 0 || rest != 0;
  }
  return out + used;
}

// out: code.bytes bytes. `sum`: null, or becomes that of the chunk, whose values lie from `first` on.
template <class Bits>
void encode_chunk(const Bits* previous, const Bits* next, size_t n, const Code& code, uint8_t* out, int64_t first,
                  ChangeSum* sum) {
  if (sum != nullptr) *sum = {};
  if (code.mode == DeltaMode::same) return;
  if (code.mode == DeltaMode::raw) std::memcpy(out, next, n * sizeof(Bits));
  if (previous == nullptr || (code.mode == DeltaMode::raw && sum == nullptr)) return;
  ChangeList<Bits> list(n);
  list.fill(previous, next, n, n);
  if (sum != nullptr) *sum = list.sum(first);
  if (code.mode == DeltaMode::raw) return;
  if (code.mode == DeltaMode::bitmap) {
    uint64_t changed[kWords];
    change_masks(previous, next, n, changed);
    std::memcpy(out, changed, (n + 7) / 8);
    out += (n + 7) / 8;
  } else {
    out = put_varint(out, list.count);
    size_t expected = 0;
    for (size_t c = 0; c < list.count; ++c) {
      out = put_gap(out, list.places[c] - expected);
      expected = list.places[c] + size_t{1};
    }
  }
  auto* const diffs = reinterpret_cast<uint8_t*>(scratch_bytes(ScratchSlot::b, (list.count + 1) * kMaxVarint<Bits>));
  uint8_t* end = diffs;
  for (size_t c = 0; c < list.count; ++c) end = put_difference(end, zigzag_difference(list.before[c], list.after[c]));
  std::memcpy(out, diffs, static_cast<size_t>(end - diffs));
}

// Reads what may be anything. The first thing that is wrong stays in `status`; what is read after it is 0.
struct Reader {
  const uint8_t* p;
  const uint8_t* end;
  DeltaStatus status = DeltaStatus::ok;

  uint64_t fail(DeltaStatus s) {
    if (status == DeltaStatus::ok) status = s;
    return 0;
  }
  size_t gap() {
    for (size_t v = 0;; v += 255) {
      if (p == end) return fail(DeltaStatus::gaps_short);
      if (const uint8_t byte = *p++; byte < 255) return v + byte;
    }
  }
  uint64_t varint(int max_bits) {
    uint64_t v = 0;
    for (int shift = 0; shift < max_bits; shift += 7) {
      if (p == end) return fail(DeltaStatus::varint_short);
      const uint64_t byte = *p++;
      v |= (byte & 127) << shift;
      if (byte < 128) return (v >> max_bits) != 0 ? fail(DeltaStatus::varint_range) : v;
    }
    return fail(DeltaStatus::varint_long);
  }
};

// The next difference, applied to values[place].
template <class Bits>
bool step(Reader& reader, Bits* values, size_t place, ChangeList<Bits>& list) {
  const Bits z = static_cast<Bits>(reader.p != reader.end && *reader.p < 128 ? *reader.p++ : reader.varint(sizeof(Bits) * 8));
  if (z == 0) reader.fail(DeltaStatus::zero_difference);
  if (reader.status != DeltaStatus::ok) return false;
  const Bits before = values[place], after = undo_zigzag(before, z);
  values[place] = after;
  list.add(place, before, after);
  return true;
}

template <class Bits>
DeltaStatus apply_bitmap(Reader reader, Bits* values, size_t n, ChangeList<Bits>& list) {
  const uint8_t* const bitmap = reader.p;
  const size_t bitmap_bytes = (n + 7) / 8;
  if (static_cast<size_t>(reader.end - reader.p) < bitmap_bytes) return DeltaStatus::bitmap_short;
  reader.p += bitmap_bytes;
  for (size_t begin = 0; begin < n; begin += 64) {
    uint64_t bits = 0;
    std::memcpy(&bits, bitmap + begin / 8, std::min<size_t>(8, bitmap_bytes - begin / 8));
    for (; bits != 0; bits &= bits - 1) {
      const size_t i = begin + static_cast<size_t>(std::countr_zero(bits));
      if (i >= n) return DeltaStatus::bitmap_long;
      if (!step(reader, values, i, list)) return reader.status;
    }
  }
  return reader.p == reader.end ? DeltaStatus::ok : DeltaStatus::left_over;
}

template <class Bits>
DeltaStatus apply_gaps(Reader reader, Bits* values, size_t n, ChangeList<Bits>& list) {
  const uint64_t count = reader.varint(32);
  if (reader.status == DeltaStatus::ok && count > n) return DeltaStatus::too_many_changes;
  auto* const places = reinterpret_cast<uint32_t*>(scratch_bytes(ScratchSlot::b, (count + 1) * sizeof(uint32_t)));
  size_t at = 0;
  bool inside = true;
  for (uint64_t c = 0; c < count && reader.status == DeltaStatus::ok; ++c) {
    at += reader.gap();
    inside = inside && at < n;
    // Values are far apart, more than the first cache asks memory for at a time: those of a chunk come to the second one while
    // the places are read.
    __builtin_prefetch(values + std::min(at, n - 1), 0, 2);
    places[c] = static_cast<uint32_t>(at++);
  }
  if (reader.status != DeltaStatus::ok) return reader.status;
  if (!inside) return DeltaStatus::change_outside;
  for (uint64_t c = 0; c < count; ++c)
    if (!step(reader, values, places[c], list)) return reader.status;
  return reader.p == reader.end ? DeltaStatus::ok : DeltaStatus::left_over;
}

// values: n values of the previous version, overwritten in place; they lie from `first` on. `sum`: null, or becomes theirs.
template <class Bits>
DeltaStatus apply_chunk(DeltaMode mode, const uint8_t* data, size_t bytes, Bits* values, size_t n, int64_t first,
                        ChangeSum* sum) {
  if (mode == DeltaMode::raw) {
    if (bytes != n * sizeof(Bits)) return DeltaStatus::raw_size;
    if (sum != nullptr) {
      ChangeList<Bits> list(n);
      for (size_t i = 0; i < n; ++i) {
        Bits after;
        std::memcpy(&after, data + i * sizeof(Bits), sizeof(Bits));
        if (values[i] != after) list.add(i, values[i], after);
      }
      *sum = list.sum(first);
    }
    std::memcpy(values, data, bytes);
    return DeltaStatus::ok;
  }
  if (mode == DeltaMode::same) return bytes == 0 ? DeltaStatus::ok : DeltaStatus::left_over;
  if (mode != DeltaMode::gaps && mode != DeltaMode::bitmap) return DeltaStatus::unknown_mode;
  ChangeList<Bits> list(n);
  const Reader reader{data, data + bytes};
  const DeltaStatus status =
      mode == DeltaMode::gaps ? apply_gaps(reader, values, n, list) : apply_bitmap(reader, values, n, list);
  if (sum != nullptr && status == DeltaStatus::ok) *sum = list.sum(first);
  return status;
}

ChangeSum* sum_of_chunk(const View& sums, int64_t c) { return sums ? reinterpret_cast<ChangeSum*>(sums.data) + c : nullptr; }

// Where each chunk's payload begins; one more than chunks. Sizes below 0 count as 0.
std::vector<int64_t> payload_offsets(const View& codes) {
  const auto* code = bits_of<int32_t>(codes);
  std::vector<int64_t> at{0};
  for (int64_t c = 0; c < codes.shape[0]; ++c) at.push_back(at.back() + std::max<int64_t>(code[2 * c + 1], 0));
  return at;
}

// f of the unsigned integer as wide as a value.
template <class F>
void with_bits(const View& values, F&& f) {
  values.dtype == DType::bf16 ? f(uint16_t{}) : f(uint32_t{});
}

}  // namespace

void hash_spans(Context& context, const HashSpans& op) {
  const auto* span = bits_of<int64_t>(op.spans);
  auto* const hashes = reinterpret_cast<int64_t*>(op.hashes.data);
  auto* const bad = op.not_finite ? reinterpret_cast<int64_t*>(op.not_finite.data) : nullptr;
  const int64_t n = op.spans.shape[0], item = static_cast<int64_t>(dtype_size(op.x.dtype));
  const double bytes = static_cast<double>(op.x.size() * item) / static_cast<double>(n);
  for_tiles(context, n, static_cast<int64_t>(kHashNsPerByte * bytes), [&](int64_t c) {
    const int64_t begin = span[2 * c], values = span[2 * c + 1] - begin;
    const std::byte* const data = op.x.data + begin * item;
    const Hash128 h = hash_bytes(data, static_cast<size_t>(values * item));
    hashes[2 * c] = static_cast<int64_t>(h.hi);
    hashes[2 * c + 1] = static_cast<int64_t>(h.lo);
    if (bad == nullptr) return;
    bad[c] = op.x.dtype == DType::bf16 ? first_not_finite(reinterpret_cast<const uint16_t*>(data), values)
                                       : first_not_finite(reinterpret_cast<const uint32_t*>(data), values);
  });
}

void delta_measure(Context& context, const DeltaMeasure& op) {
  auto* const code = reinterpret_cast<int32_t*>(op.codes.data);
  const int64_t n = op.next.size();
  with_bits(op.next, [&]<class Bits>(Bits) {
    const Bits* const previous = op.previous ? bits_of<Bits>(op.previous) : nullptr;
    const Bits* const next = bits_of<Bits>(op.next);
    for_tiles(context, op.codes.shape[0], static_cast<int64_t>(kMeasureNs * kDeltaChunk), [&](int64_t c) {
      const int64_t at = c * kDeltaChunk;
      const Code m = measure_chunk(previous ? previous + at : nullptr, next + at, static_cast<size_t>(chunk_values(n, c)));
      code[2 * c] = static_cast<int32_t>(m.mode);
      code[2 * c + 1] = static_cast<int32_t>(m.bytes);
    });
  });
}

void delta_encode(Context& context, const DeltaEncode& op) {
  const auto* code = bits_of<int32_t>(op.codes);
  const std::vector<int64_t> offsets = payload_offsets(op.codes);
  auto* const payload = reinterpret_cast<uint8_t*>(op.payload.data);
  const int64_t n = op.next.size();
  with_bits(op.next, [&]<class Bits>(Bits) {
    const Bits* const previous = op.previous ? bits_of<Bits>(op.previous) : nullptr;
    const Bits* const next = bits_of<Bits>(op.next);
    for_tiles(context, op.codes.shape[0], static_cast<int64_t>(kEncodeNs * kDeltaChunk), [&](int64_t c) {
      const int64_t at = c * kDeltaChunk;
      encode_chunk(previous ? previous + at : nullptr, next + at, static_cast<size_t>(chunk_values(n, c)),
                   {static_cast<DeltaMode>(code[2 * c]), static_cast<size_t>(code[2 * c + 1])},
                   payload + offsets[static_cast<size_t>(c)], op.first + at, sum_of_chunk(op.sums, c));
    });
  });
  std::fill(payload + offsets.back(), payload + op.payload.size() * 4, uint8_t{0});
}

void delta_apply(Context& context, const DeltaApply& op) {
  const auto* code = bits_of<int32_t>(op.codes);
  const std::vector<int64_t> offsets = payload_offsets(op.codes);
  const auto* payload = bits_of<uint8_t>(op.payload);
  auto* const status = reinterpret_cast<int32_t*>(op.status.data);
  const int64_t n = op.values.size(), held = op.payload.size() * 4;
  with_bits(op.values, [&]<class Bits>(Bits) {
    auto* const values = reinterpret_cast<Bits*>(op.values.data);
    for_tiles(context, op.codes.shape[0], static_cast<int64_t>(kApplyNs * kDeltaChunk), [&](int64_t c) {
      const int64_t begin = offsets[static_cast<size_t>(c)], end = offsets[static_cast<size_t>(c) + 1];
      ChangeSum* const sum = sum_of_chunk(op.sums, c);
      if (sum != nullptr) *sum = {};
      const DeltaStatus s =
          end > held || code[2 * c + 1] < 0
              ? DeltaStatus::cut_short
              : apply_chunk(static_cast<DeltaMode>(code[2 * c]), payload + begin, static_cast<size_t>(end - begin),
                            values + c * kDeltaChunk, static_cast<size_t>(chunk_values(n, c)), op.first + c * kDeltaChunk, sum);
      status[c] = static_cast<int32_t>(s);
    });
  });
}

}  // namespace r1::cpu
