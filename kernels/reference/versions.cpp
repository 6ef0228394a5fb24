// HashSpans, DeltaMeasure, DeltaEncode and DeltaApply: lists of changes and bytes, one value after the other.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/hash.h"
#include "kernels/delta_format.h"
#include "kernels/reference/dense.h"
#include "kernels/reference/reference_table.h"

namespace r1::reference {
namespace {

using Bytes = std::vector<uint8_t>;

// The bit patterns of values [begin, end).
std::vector<uint64_t> patterns(const View& v, int64_t begin, int64_t end) {
  const size_t item = dtype_size(v.dtype);
  std::vector<uint64_t> out(static_cast<size_t>(end - begin), 0);
  for (size_t i = 0; i < out.size(); ++i) std::memcpy(&out[i], v.data + (static_cast<size_t>(begin) + i) * item, item);
  return out;
}

uint64_t zigzag(uint64_t from, uint64_t to, size_t item) {
  return item == 2 ? zigzag_difference(static_cast<uint16_t>(from), static_cast<uint16_t>(to))
                   : zigzag_difference(static_cast<uint32_t>(from), static_cast<uint32_t>(to));
}
uint64_t undo(uint64_t from, uint64_t z, size_t item) {
  return item == 2 ? undo_zigzag(static_cast<uint16_t>(from), static_cast<uint16_t>(z))
                   : undo_zigzag(static_cast<uint32_t>(from), static_cast<uint32_t>(z));
}

void put_varint(Bytes& out, uint64_t v) {
  for (; v >= 128; v /= 128) out.push_back(static_cast<uint8_t>(v % 128 + 128));
  out.push_back(static_cast<uint8_t>(v));
}

void put_gap(Bytes& out, uint64_t gap) {
  out.insert(out.end(), gap / 255, uint8_t{255});
  out.push_back(static_cast<uint8_t>(gap % 255));
}

struct Coded {
  DeltaMode mode;
  Bytes bytes;
};

Coded encode(const std::optional<std::vector<uint64_t>>& previous, const std::vector<uint64_t>& next, size_t item) {
  Bytes raw(next.size() * item);
  for (size_t i = 0; i < next.size(); ++i) std::memcpy(raw.data() + i * item, &next[i], item);
  if (!previous) return {DeltaMode::raw, raw};
  Bytes gaps, diffs, bitmap((next.size() + 7) / 8, 0);
  size_t count = 0, expected = 0;
  for (size_t i = 0; i < next.size(); ++i) {
    if ((*previous)[i] == next[i]) continue;
    put_gap(gaps, i - expected);
    put_varint(diffs, zigzag((*previous)[i], next[i], item));
    bitmap[i / 8] = static_cast<uint8_t>(bitmap[i / 8] | 1u << i % 8);
    expected = i + 1;
    ++count;
  }
  if (count == 0) return {DeltaMode::same, {}};
  Bytes head;
  put_varint(head, count);
  head.insert(head.end(), gaps.begin(), gaps.end());
  const bool by_bitmap = bitmap.size() <= head.size();
  Bytes out = by_bitmap ? bitmap : head;
  out.insert(out.end(), diffs.begin(), diffs.end());
  if (out.size() >= raw.size()) return {DeltaMode::raw, raw};
  return {by_bitmap ? DeltaMode::bitmap : DeltaMode::gaps, out};
}

std::vector<Coded> encode_all(const View& previous, const View& next) {
  std::vector<Coded> out;
  for (int64_t begin = 0; begin < next.size(); begin += kDeltaChunk) {
    const int64_t end = std::min(next.size(), begin + kDeltaChunk);
    std::optional<std::vector<uint64_t>> before;
    if (previous) before = patterns(previous, begin, end);
    out.push_back(encode(before, patterns(next, begin, end), dtype_size(next.dtype)));
  }
  return out;
}

// Thrown and caught here.
struct Malformed {
  DeltaStatus status;
};

uint64_t take_varint(const Bytes& in, size_t& at, int max_bits) {
  uint64_t v = 0;
  for (int shift = 0; shift < max_bits; shift += 7) {
    if (at >= in.size()) throw Malformed{DeltaStatus::varint_short};
    const uint64_t byte = in[at++];
    v |= byte % 128 << shift;
    if (byte >= 128) continue;
    if (v >> max_bits != 0) throw Malformed{DeltaStatus::varint_range};
    return v;
  }
  throw Malformed{DeltaStatus::varint_long};
}

uint64_t take_gap(const Bytes& in, size_t& at) {
  for (uint64_t gap = 0;; gap += 255) {
    if (at >= in.size()) throw Malformed{DeltaStatus::gaps_short};
    if (const uint8_t byte = in[at++]; byte < 255) return gap + byte;
  }
}

void apply(DeltaMode mode, const Bytes& in, std::vector<uint64_t>& values, size_t item) {
  size_t at = 0;
  const auto step = [&](size_t i, size_t& where) {
    const uint64_t z = take_varint(in, where, static_cast<int>(item * 8));
    if (z == 0) throw Malformed{DeltaStatus::zero_difference};
    values[i] = undo(values[i], z, item);
  };
  switch (mode) {
    case DeltaMode::same:
      break;
    case DeltaMode::raw:
      if (in.size() != values.size() * item) throw Malformed{DeltaStatus::raw_size};
      for (size_t i = 0; i < values.size(); ++i) std::memcpy(&values[i], in.data() + i * item, item);
      return;
    case DeltaMode::bitmap:
      at = (values.size() + 7) / 8;
      if (in.size() < at) throw Malformed{DeltaStatus::bitmap_short};
      for (size_t i = 0; i < (values.size() + 7) / 8 * 8; ++i) {
        if ((in[i / 8] >> i % 8 & 1) == 0) continue;
        if (i >= values.size()) throw Malformed{DeltaStatus::bitmap_long};
        step(i, at);
      }
      break;
    case DeltaMode::gaps: {
      const uint64_t count = take_varint(in, at, 32);
      if (count > values.size()) throw Malformed{DeltaStatus::too_many_changes};
      std::vector<uint64_t> gaps;
      for (uint64_t c = 0; c < count; ++c) gaps.push_back(take_gap(in, at));
      size_t i = 0;
      for (uint64_t gap : gaps) {
        i += gap;
        if (i >= values.size()) throw Malformed{DeltaStatus::change_outside};
        step(i++, at);
      }
      break;
    }
    default:
      throw Malformed{DeltaStatus::unknown_mode};
  }
  if (at != in.size()) throw Malformed{DeltaStatus::left_over};
}

}  // namespace

void hash_spans(Context&, const HashSpans& op) {
  const std::vector<int64_t> spans = load_ints(op.spans);
  const auto item = static_cast<int64_t>(dtype_size(op.x.dtype));
  const std::vector<double> values = load(op.x);
  auto* const hashes = reinterpret_cast<int64_t*>(op.hashes.data);
  for (size_t c = 0; c < spans.size() / 2; ++c) {
    const int64_t begin = spans[2 * c], end = spans[2 * c + 1];
    R1_CHECK(0 <= begin && begin <= end && end <= op.x.size(), "a span outside x");
    const Hash128 h = hash_bytes(op.x.data + begin * item, static_cast<size_t>((end - begin) * item));
    hashes[2 * c] = static_cast<int64_t>(h.hi);
    hashes[2 * c + 1] = static_cast<int64_t>(h.lo);
    if (!op.not_finite) continue;
    int64_t bad = -1;
    for (int64_t i = end; i-- > begin;)
      if (!std::isfinite(values[static_cast<size_t>(i)])) bad = i - begin;
    reinterpret_cast<int64_t*>(op.not_finite.data)[c] = bad;
  }
}

namespace {

// Of values that lie from place `first` on.
ChangeSum change_sum(const std::vector<uint64_t>& previous, const std::vector<uint64_t>& next, uint64_t first) {
  ChangeSum sum;
  for (size_t i = 0; i < next.size(); ++i) {
    const ChangeSum was = value_mark(first + i, previous[i]), is = value_mark(first + i, next[i]);
    sum += {is.a - was.a, is.b - was.b};
  }
  return sum;
}

void put_sum(const View& sums, size_t chunk, const ChangeSum& sum) {
  if (!sums) return;
  auto* const words = reinterpret_cast<uint64_t*>(sums.data) + 2 * chunk;
  words[0] = sum.a;
  words[1] = sum.b;
}

}  // namespace

void delta_measure(Context&, const DeltaMeasure& op) {
  std::vector<double> codes;
  for (const Coded& c : encode_all(op.previous, op.next)) {
    codes.push_back(static_cast<double>(c.mode));
    codes.push_back(static_cast<double>(c.bytes.size()));
  }
  store(op.codes, codes);
}

void delta_encode(Context&, const DeltaEncode& op) {
  Bytes payload;
  const std::vector<int64_t> codes = load_ints(op.codes);
  size_t next = 0;
  for (const Coded& c : encode_all(op.previous, op.next)) {
    R1_CHECK(codes[next] == static_cast<int64_t>(c.mode) && codes[next + 1] == static_cast<int64_t>(c.bytes.size()),
             "codes of another difference");
    next += 2;
    payload.insert(payload.end(), c.bytes.begin(), c.bytes.end());
  }
  payload.resize((payload.size() + 3) / 4 * 4, 0);
  R1_CHECK(payload.size() == static_cast<size_t>(op.payload.size()) * 4, "a payload of another size");
  if (!payload.empty()) std::memcpy(op.payload.data, payload.data(), payload.size());
  for (int64_t begin = 0; begin < op.next.size(); begin += kDeltaChunk) {
    const int64_t end = std::min(op.next.size(), begin + kDeltaChunk);
    const std::vector<uint64_t> after = patterns(op.next, begin, end);
    put_sum(
        op.sums, static_cast<size_t>(begin / kDeltaChunk),
        change_sum(op.previous ? patterns(op.previous, begin, end) : after, after, static_cast<uint64_t>(op.first + begin)));
  }
}

void delta_apply(Context&, const DeltaApply& op) {
  const std::vector<int64_t> codes = load_ints(op.codes);
  const auto* payload = reinterpret_cast<const uint8_t*>(op.payload.data);
  const size_t item = dtype_size(op.values.dtype), held = static_cast<size_t>(op.payload.size()) * 4;
  std::vector<double> status;
  size_t at = 0;
  for (size_t c = 0; c < codes.size() / 2; ++c) {
    const int64_t begin = static_cast<int64_t>(c) * kDeltaChunk, end = std::min(op.values.size(), begin + kDeltaChunk);
    const size_t bytes = codes[2 * c + 1] > 0 ? static_cast<size_t>(codes[2 * c + 1]) : 0;
    const std::vector<uint64_t> before = patterns(op.values, begin, end);
    std::vector<uint64_t> values = before;
    DeltaStatus s = DeltaStatus::ok;
    ChangeSum sum;
    try {
      if (at + bytes > held || codes[2 * c + 1] < 0) throw Malformed{DeltaStatus::cut_short};
      apply(static_cast<DeltaMode>(codes[2 * c]), Bytes(payload + at, payload + at + bytes), values, item);
      for (size_t i = 0; i < values.size(); ++i)
        std::memcpy(op.values.data + (static_cast<size_t>(begin) + i) * item, &values[i], item);
      sum = change_sum(before, values, static_cast<uint64_t>(op.first + begin));
    } catch (const Malformed& m) {
      s = m.status;
    }
    at += bytes;
    put_sum(op.sums, c, sum);
    status.push_back(static_cast<double>(s));
  }
  store(op.status, status);
}

}  // namespace r1::reference
