#include "models/version_delta.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"

// The flat buffer of a WeightSet is cut into chunks of kChunkValues values; each is coded by the cheapest of
//   same    nothing                                                  no value of the chunk changed
//   gaps    count, count x varint gap, count x varint diff           few changed
//   bitmap  one bit a value, then a varint diff a changed value      many changed
//   raw     the values                                               nearly all changed, or no previous version
// A gap is the number of unchanged values since the last changed one; a diff is the zigzag difference of the bit patterns as
// integers of the value's width (mod 2^16 or 2^32), so small steps take one byte and any step fits. Integers are little-endian,
// varints LEB128. Selection biases (f32, at the end of every flat buffer) travel as the elements that they take there.
//   file := "R1D1" u8 value_bytes u64 values u32 chunks  chunks x (u8 mode, u32 bytes)  payloads
namespace r1 {

namespace {

constexpr char kMagic[4] = {'R', '1', 'D', '1'};
constexpr size_t kChunkValues = size_t{1} << 16;
constexpr size_t kHeaderBytes = 4 + 1 + 8 + 4;
constexpr size_t kTableBytes = 5;
enum Mode : uint8_t { same = 0, gaps = 1, bitmap = 2, raw = 3 };

size_t varint_size(uint64_t v) { return v < 128 ? 1 : (static_cast<size_t>(std::bit_width(v)) + 6) / 7; }

template <class Int>
void put(std::string& out, Int v) {
  out.append(reinterpret_cast<const char*>(&v), sizeof v);
}

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

struct Chunk {
  Mode mode = same;
  std::string bytes;
};

template <class Bits>
Chunk encode_chunk(const Bits* previous, const Bits* next, size_t n) {
  const size_t raw_bytes = n * sizeof(Bits);
  const auto raw_chunk = [&] { return Chunk{raw, std::string(reinterpret_cast<const char*>(next), raw_bytes)}; };
  if (previous == nullptr) return raw_chunk();
  // One pass writes the bitmap and the differences, without a branch per value: at the densities of real updates the branch
  // would be mispredicted every other time. Gaps are read off the bitmap, and only where they can be shorter.
  constexpr size_t kMaxVarint = (sizeof(Bits) * 8 + 6) / 7;
  std::vector<uint64_t> changed((n + 63) / 64);
  const auto diffs = std::make_unique_for_overwrite<uint8_t[]>(n * kMaxVarint + 1);
  size_t used = 0, count = 0;
  for (size_t w = 0; w < changed.size(); ++w) {
    const size_t begin = w * 64, end = std::min(n, begin + 64);
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
  if (count == 0) return {};
  const auto each_gap = [&](auto&& visit) {
    size_t expected = 0;
    for (size_t w = 0; w < changed.size(); ++w) {
      for (uint64_t bits = changed[w]; bits != 0; bits &= bits - 1) {
        const size_t i = w * 64 + static_cast<size_t>(std::countr_zero(bits));
        visit(i - expected);
        expected = i + 1;
      }
    }
  };
  const size_t bitmap_bytes = (n + 7) / 8;
  size_t gap_bytes = varint_size(count) + count;
  if (gap_bytes < bitmap_bytes) {
    gap_bytes = varint_size(count);
    each_gap([&](size_t gap) { gap_bytes += varint_size(gap); });
  }
  if (std::min(gap_bytes, bitmap_bytes) + used >= raw_bytes) return raw_chunk();

  Chunk chunk;
  if (bitmap_bytes <= gap_bytes) {
    chunk.mode = bitmap;
    chunk.bytes.reserve(bitmap_bytes + used);
    chunk.bytes.assign(reinterpret_cast<const char*>(changed.data()), bitmap_bytes);
  } else {
    chunk.mode = gaps;
    chunk.bytes.reserve(gap_bytes + used);
    const auto varint = [&](uint64_t v) {
      for (; v >= 128; v >>= 7) chunk.bytes.push_back(static_cast<char>(v | 128));
      chunk.bytes.push_back(static_cast<char>(v));
    };
    varint(count);
    each_gap(varint);
  }
  chunk.bytes.append(reinterpret_cast<const char*>(diffs.get()), used);
  return chunk;
}

[[noreturn]] void malformed(const char* why) {
  throw failure(fmt::format("weight delta is malformed: {}", why), {}, "the sender will be asked for a snapshot");
}

struct Reader {
  const uint8_t* p;
  const uint8_t* end;
  uint64_t varint(int max_bits) {
    uint64_t v = 0;
    for (int shift = 0; shift < max_bits; shift += 7) {
      if (p == end) malformed("a varint is cut short");
      const uint64_t byte = *p++;
      v |= (byte & 127) << shift;
      if (byte < 128) {
        if (max_bits < 64 && (v >> max_bits) != 0) malformed("a varint is out of range");
        return v;
      }
    }
    malformed("a varint is too long");
  }
  // The next difference, applied to `value`.
  template <class Bits>
  Bits step(Bits value) {
    const Bits z = static_cast<Bits>(varint(sizeof(Bits) * 8));
    if (z == 0) malformed("a difference of zero");
    return undo_zigzag(value, z);
  }
};

// values: n values of the previous version, overwritten in place.
template <class Bits>
void decode_chunk(Mode mode, const uint8_t* data, size_t bytes, Bits* values, size_t n) {
  if (mode == raw) {
    if (bytes != n * sizeof(Bits)) malformed("a raw chunk of the wrong size");
    std::memcpy(values, data, bytes);
    return;
  }
  Reader reader{data, data + bytes};
  if (mode == bitmap) {
    if (bytes < (n + 7) / 8) malformed("a bitmap is cut short");
    reader.p += (n + 7) / 8;
    for (size_t begin = 0; begin < n; begin += 64) {
      uint64_t bits = 0;
      std::memcpy(&bits, data + begin / 8, std::min<size_t>(8, (n + 7) / 8 - begin / 8));
      for (; bits != 0; bits &= bits - 1) {
        const size_t i = begin + static_cast<size_t>(std::countr_zero(bits));
        if (i >= n) malformed("a bitmap is longer than its chunk");
        values[i] = reader.step(values[i]);
      }
    }
  } else if (mode == gaps) {
    const uint64_t count = reader.varint(32);
    if (count > n) malformed("more changes than values");
    Reader diffs = reader;  // begins where the gaps end
    for (uint64_t c = 0; c < count; ++c) diffs.varint(32);
    const uint8_t* gaps_end = diffs.p;
    size_t i = 0;
    for (uint64_t c = 0; c < count; ++c) {
      i += reader.varint(32);
      if (i >= n) malformed("a change lies outside its chunk");
      values[i] = diffs.step(values[i]);
      ++i;
    }
    if (reader.p != gaps_end) malformed("gaps and differences overlap");
    reader = diffs;
  }
  if (reader.p != reader.end) malformed("bytes are left over");
}

size_t flat_bytes(const WeightSet& w) { return static_cast<size_t>(w.flat().size()) * dtype_size(w.dtype()); }

std::vector<std::byte> host_copy(const WeightSet& w) {
  std::vector<std::byte> host(flat_bytes(w));
  download(w.flat(), host.data(), host.size());
  return host;
}

// The spaces between parameters are not part of the hash, so they are checked by themselves.
void check_gaps_are_zero(const WeightSet& w, const std::vector<std::byte>& host) {
  size_t end = 0;
  const auto check = [&](size_t from, size_t to) {
    for (size_t i = from; i < to; ++i)
      if (host[i] != std::byte{0}) malformed("bytes between parameters are not zero");
  };
  for (size_t i = 0; i < w.specs().size(); ++i) {
    const size_t begin = static_cast<size_t>(w.param(i).data - w.flat().data);
    check(end, begin);
    end = begin + static_cast<size_t>(w.param(i).size()) * dtype_size(w.param(i).dtype);
  }
  check(end, host.size());
}

}  // namespace

VersionDelta encode_delta(const WeightSet* previous, int64_t from, const WeightSet& next, int64_t to) {
  R1_CHECK(next.dtype() == DType::f32 || next.dtype() == DType::bf16, dtype_name(next.dtype()));
  if (previous != nullptr)
    R1_CHECK(previous->dtype() == next.dtype() && previous->flat().size() == next.flat().size() && from >= 0,
             fmt::format("delta from {} to {}", from, to));
  const size_t value_bytes = dtype_size(next.dtype()), values = static_cast<size_t>(next.flat().size());
  const size_t chunks = (values + kChunkValues - 1) / kChunkValues;
  const std::vector<std::byte> after = host_copy(next);
  const std::vector<std::byte> before = previous != nullptr ? host_copy(*previous) : std::vector<std::byte>();
  std::vector<Chunk> coded(chunks);
  parallel_tasks(static_cast<int64_t>(chunks), [&](int64_t c) {
    const size_t begin = static_cast<size_t>(c) * kChunkValues, n = std::min(kChunkValues, values - begin);
    const auto encode = [&]<class Bits>(Bits) {
      const Bits* old_values = previous != nullptr ? reinterpret_cast<const Bits*>(before.data()) + begin : nullptr;
      coded[static_cast<size_t>(c)] = encode_chunk(old_values, reinterpret_cast<const Bits*>(after.data()) + begin, n);
    };
    if (value_bytes == 2)
      encode(uint16_t{});
    else
      encode(uint32_t{});
  });

  VersionDelta delta;
  delta.to = to;
  std::string not_finite;
  delta.hash = next.hash(&not_finite);
  if (!not_finite.empty())
    throw failure(fmt::format("version {} is not finite: {}", to, not_finite), {}, "a smaller learning rate may help");
  bool needs_previous = false;
  size_t total = kHeaderBytes + chunks * kTableBytes;
  for (const Chunk& chunk : coded) {
    needs_previous = needs_previous || chunk.mode != raw;
    total += chunk.bytes.size();
  }
  delta.from = needs_previous ? from : -1;
  delta.bytes.reserve(total);
  delta.bytes.append(kMagic, sizeof kMagic);
  put(delta.bytes, static_cast<uint8_t>(value_bytes));
  put(delta.bytes, static_cast<uint64_t>(values));
  put(delta.bytes, static_cast<uint32_t>(chunks));
  for (const Chunk& chunk : coded) {
    put(delta.bytes, static_cast<uint8_t>(chunk.mode));
    put(delta.bytes, static_cast<uint32_t>(chunk.bytes.size()));
  }
  for (const Chunk& chunk : coded) delta.bytes += chunk.bytes;
  return delta;
}

std::shared_ptr<WeightSet> apply_delta(const WeightSet* previous, const VersionDelta& delta, const ModelConfig& config,
                                       Device& device, DType dtype) {
  auto result = std::make_shared<WeightSet>(device, config, dtype);
  const size_t value_bytes = dtype_size(dtype), values = static_cast<size_t>(result->flat().size());
  const size_t chunks = (values + kChunkValues - 1) / kChunkValues;
  const auto* data = reinterpret_cast<const uint8_t*>(delta.bytes.data());
  const auto* end = data + delta.bytes.size();
  const auto take = [&]<class Int>(Int) {
    if (static_cast<size_t>(end - data) < sizeof(Int)) malformed("cut short");
    Int v;
    std::memcpy(&v, data, sizeof v);
    data += sizeof v;
    return v;
  };
  if (delta.bytes.size() < kHeaderBytes || std::memcmp(data, kMagic, sizeof kMagic) != 0) malformed("no R1D1 header");
  data += sizeof kMagic;
  if (take(uint8_t{}) != value_bytes) malformed("values of another width than the generator's");
  if (take(uint64_t{}) != values) malformed("another number of values than the model has");
  if (take(uint32_t{}) != chunks) malformed("a wrong number of chunks");
  if (static_cast<size_t>(end - data) < chunks * kTableBytes) malformed("cut short");

  struct Piece {
    Mode mode;
    const uint8_t* data;
    size_t bytes;
  };
  std::vector<Piece> pieces(chunks);
  const uint8_t* payload = data + chunks * kTableBytes;
  for (Piece& piece : pieces) {
    const uint8_t mode = take(uint8_t{});
    const size_t bytes = take(uint32_t{});
    if (mode > raw) malformed("an unknown kind of chunk");
    if (mode != raw && previous == nullptr) malformed("it needs a previous version");
    if (static_cast<size_t>(end - payload) < bytes) malformed("cut short");
    piece = {static_cast<Mode>(mode), payload, bytes};
    payload += bytes;
  }
  if (payload != end) malformed("bytes are left over");
  if (!delta.full()) {
    if (previous == nullptr) malformed("it needs a previous version");
    R1_CHECK(previous->dtype() == dtype && static_cast<size_t>(previous->flat().size()) == values, previous->flat().str());
  }

  std::vector<std::byte> host = delta.full() ? std::vector<std::byte>(flat_bytes(*result)) : host_copy(*previous);
  parallel_tasks(static_cast<int64_t>(chunks), [&](int64_t c) {
    const size_t begin = static_cast<size_t>(c) * kChunkValues, n = std::min(kChunkValues, values - begin);
    const Piece& piece = pieces[static_cast<size_t>(c)];
    const auto decode = [&]<class Bits>(Bits) {
      decode_chunk(piece.mode, piece.data, piece.bytes, reinterpret_cast<Bits*>(host.data()) + begin, n);
    };
    if (value_bytes == 2)
      decode(uint16_t{});
    else
      decode(uint32_t{});
  });
  check_gaps_are_zero(*result, host);
  upload(result->flat(), host.data(), host.size());
  device.finish();
  const Hash128 hash = result->hash();
  if (hash != delta.hash)
    throw failure(fmt::format("weights of version {} hash to {}, published was {}", delta.to, hash.hex(), delta.hash.hex()), {},
                  "the sender will be asked for a snapshot");
  return result;
}

}  // namespace r1
