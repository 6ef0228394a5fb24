// Hash and difference of weight versions: spans and chunks are independent, so they are the tiles.
#include <algorithm>
#include <cstring>
#include <vector>

#include "base/hash.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/threads.h"
#include "kernels/delta_format.h"

namespace r1::cpu {
namespace {

constexpr double kHashNsPerByte = 0.1, kMeasureNs = 0.3, kEncodeNs = 1.5, kApplyNs = 1;  // the last three a value

// The first of n values whose exponent is all ones, or -1.
template <class Bits>
int64_t first_not_finite(const Bits* x, int64_t n, Bits exponent) {
  constexpr int64_t kBlock = 4096;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(n, begin + kBlock);
    unsigned any = 0;
    for (int64_t i = begin; i < end; ++i) any |= static_cast<unsigned>((x[i] & exponent) == exponent);
    if (any == 0) continue;
    for (int64_t i = begin; i < end; ++i)
      if ((x[i] & exponent) == exponent) return i;
  }
  return -1;
}

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

// Calls visit(gap) for every set bit.
template <class F>
void each_gap(const uint64_t* changed, size_t words, F&& visit) {
  size_t expected = 0;
  for (size_t w = 0; w < words; ++w)
    for (uint64_t bits = changed[w]; bits != 0; bits &= bits - 1) {
      const size_t i = w * 64 + static_cast<size_t>(std::countr_zero(bits));
      visit(i - expected);
      expected = i + 1;
    }
}

constexpr size_t kWords = kDeltaChunk / 64;

// What n values add: how many changed, and the bytes of their differences. Free of branches and of carried bits, so that the
// compiler makes vectors of it.
struct Changes {
  size_t count = 0, bytes = 0;
};
template <class Bits>
void add_changes(const Bits* previous, const Bits* next, size_t n, Changes& total) {
  Bits count = 0, bytes = 0;  // n <= 64
  for (size_t i = 0; i < n; ++i) {
    const Bits z = zigzag_difference(previous[i], next[i]);
    const auto any = static_cast<Bits>(z != 0);
    count = static_cast<Bits>(count + any);
    bytes = static_cast<Bits>(bytes + any + ((z >> 7) != 0) + ((z >> 14) != 0));
    if constexpr (sizeof(Bits) == 4) bytes = static_cast<Bits>(bytes + ((z >> 21) != 0) + ((z >> 28) != 0));
  }
  total.count += count;
  total.bytes += bytes;
}

template <class Bits>
Code measure_chunk(const Bits* previous, const Bits* next, size_t n) {
  const size_t raw_bytes = n * sizeof(Bits);
  if (previous == nullptr) return {DeltaMode::raw, raw_bytes};
  Changes changes;
  const size_t whole = n / 64 * 64;
  for (size_t begin = 0; begin < whole; begin += 64) add_changes(previous + begin, next + begin, 64, changes);
  add_changes(previous + whole, next + whole, n - whole, changes);
  if (changes.count == 0) return {};
  const size_t bitmap_bytes = (n + 7) / 8;
  size_t gap_bytes = varint_size(changes.count) + changes.count;  // at least
  if (gap_bytes < bitmap_bytes) {
    gap_bytes = varint_size(changes.count);
    size_t expected = 0;
    for (size_t begin = 0; begin < n; begin += 64) {
      const size_t end = std::min(n, begin + 64);
      if (std::memcmp(previous + begin, next + begin, (end - begin) * sizeof(Bits)) == 0) continue;
      for (size_t i = begin; i < end; ++i)
        if (previous[i] != next[i]) gap_bytes += varint_size(i - expected), expected = i + 1;
    }
  }
  const size_t bytes = std::min(gap_bytes, bitmap_bytes) + changes.bytes;
  if (bytes >= raw_bytes) return {DeltaMode::raw, raw_bytes};
  return {bitmap_bytes <= gap_bytes ? DeltaMode::bitmap : DeltaMode::gaps, bytes};
}

uint8_t* put_varint(uint8_t* out, uint64_t v) {
  for (; v >= 128; v >>= 7) *out++ = static_cast<uint8_t>(v | 128);
  *out++ = static_cast<uint8_t>(v);
  return out;
}

// out: code.bytes bytes.
template <class Bits>
void encode_chunk(const Bits* previous, const Bits* next, size_t n, const Code& code, uint8_t* out) {
  if (code.mode == DeltaMode::same) return;
  if (code.mode == DeltaMode::raw) {
    std::memcpy(out, next, n * sizeof(Bits));
    return;
  }
  // One pass writes the bitmap and the differences, without a branch per value: at the densities of real updates the branch
  // would be mispredicted every other time. Gaps are read off the bitmap.
  constexpr size_t kMaxVarint = (sizeof(Bits) * 8 + 6) / 7;
  uint64_t changed[kWords];
  auto* const diffs = reinterpret_cast<uint8_t*>(scratch_bytes(ScratchSlot::a, n * kMaxVarint + 1));
  size_t used = 0, count = 0;
  const size_t words = (n + 63) / 64;
  for (size_t w = 0; w < words; ++w) {
    const size_t begin = w * 64, end = std::min(n, begin + 64);
    changed[w] = 0;
    if (std::memcmp(previous + begin, next + begin, (end - begin) * sizeof(Bits)) == 0) continue;
    uint64_t bits = 0;
    for (size_t i = begin; i < end; ++i) {
      Bits z = zigzag_difference(previous[i], next[i]);
      bits |= static_cast<uint64_t>(z != 0) << (i - begin);
      for (; z >= 128; z = static_cast<Bits>(z >> 7)) diffs[used++] = static_cast<uint8_t>(z | 128);
      diffs[used] = static_cast<uint8_t>(z);
      used += z != 0;
    }
    changed[w] = bits;
    count += static_cast<size_t>(std::popcount(bits));
  }
  if (code.mode == DeltaMode::bitmap) {
    const size_t bitmap_bytes = (n + 7) / 8;
    std::memcpy(out, changed, bitmap_bytes);
    out += bitmap_bytes;
  } else {
    out = put_varint(out, count);
    each_gap(changed, words, [&](size_t gap) { out = put_varint(out, gap); });
  }
  std::memcpy(out, diffs, used);
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
  // The next difference, applied to `value`.
  template <class Bits>
  Bits step(Bits value) {
    const Bits z = static_cast<Bits>(varint(sizeof(Bits) * 8));
    if (z == 0) fail(DeltaStatus::zero_difference);
    return undo_zigzag(value, z);
  }
};

// values: n values of the previous version, overwritten in place.
template <class Bits>
DeltaStatus apply_chunk(DeltaMode mode, const uint8_t* data, size_t bytes, Bits* values, size_t n) {
  if (mode == DeltaMode::raw) {
    if (bytes != n * sizeof(Bits)) return DeltaStatus::raw_size;
    std::memcpy(values, data, bytes);
    return DeltaStatus::ok;
  }
  Reader reader{data, data + bytes};
  if (mode == DeltaMode::bitmap) {
    const size_t bitmap_bytes = (n + 7) / 8;
    if (bytes < bitmap_bytes) return DeltaStatus::bitmap_short;
    reader.p += bitmap_bytes;
    for (size_t begin = 0; begin < n; begin += 64) {
      uint64_t bits = 0;
      std::memcpy(&bits, data + begin / 8, std::min<size_t>(8, bitmap_bytes - begin / 8));
      for (; bits != 0; bits &= bits - 1) {
        const size_t i = begin + static_cast<size_t>(std::countr_zero(bits));
        if (i >= n) return DeltaStatus::bitmap_long;
        values[i] = reader.step(values[i]);
        if (reader.status != DeltaStatus::ok) return reader.status;
      }
    }
  } else if (mode == DeltaMode::gaps) {
    const uint64_t count = reader.varint(32);
    if (count > n) return DeltaStatus::too_many_changes;
    Reader diffs = reader;  // begins where the gaps end
    for (uint64_t c = 0; c < count && diffs.status == DeltaStatus::ok; ++c) diffs.varint(32);
    if (diffs.status != DeltaStatus::ok) return diffs.status;
    const uint8_t* gaps_end = diffs.p;
    size_t i = 0;
    for (uint64_t c = 0; c < count; ++c) {
      i += reader.varint(32);
      if (i >= n) return DeltaStatus::change_outside;
      values[i] = diffs.step(values[i]);
      if (diffs.status != DeltaStatus::ok) return diffs.status;
      ++i;
    }
    if (reader.p != gaps_end) return DeltaStatus::overlap;
    reader = diffs;
  } else if (mode != DeltaMode::same) {
    return DeltaStatus::unknown_mode;
  }
  return reader.p == reader.end ? reader.status : DeltaStatus::left_over;
}

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
    bad[c] = op.x.dtype == DType::bf16
                 ? first_not_finite(reinterpret_cast<const uint16_t*>(data), values, uint16_t{0x7f80})
                 : first_not_finite(reinterpret_cast<const uint32_t*>(data), values, uint32_t{0x7f800000});
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
                   payload + offsets[static_cast<size_t>(c)]);
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
      const DeltaStatus s =
          end > held || code[2 * c + 1] < 0
              ? DeltaStatus::cut_short
              : apply_chunk(static_cast<DeltaMode>(code[2 * c]), payload + begin, static_cast<size_t>(end - begin),
                            values + c * kDeltaChunk, static_cast<size_t>(chunk_values(n, c)));
      status[c] = static_cast<int32_t>(s);
    });
  });
}

}  // namespace r1::cpu
