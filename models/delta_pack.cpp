#include "models/delta_pack.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "base/error.h"
#include "kernels/delta_format.h"

// group := plane of places, plane of differences
// plane := u8 coding (0 plain, 1 zstd, 2 steps)  u32 bytes  u32 stored  stored bytes
// steps := two bits a byte, the first in the lowest: 1 to 3 themselves, 0 another; then the others as they are
namespace r1 {

namespace {

constexpr size_t kPlaneHead = 1 + 4 + 4, kCodeBytes = 1 + 4;
constexpr int kLevel = 1;
constexpr size_t kWorthIt = 64;  // smaller planes stay plain
constexpr size_t kBlock = 64;    // bytes that are looked at together
enum class Coding : uint8_t { plain, zstd, steps };

template <class Int>
void put(std::string& out, Int v) {
  out.append(reinterpret_cast<const char*>(&v), sizeof v);
}

struct Reader {
  const char* p;
  const char* end;

  size_t left() const { return static_cast<size_t>(end - p); }
  std::string_view take(size_t n) {
    if (left() < n) malformed_delta("cut short");
    p += n;
    return {p - n, n};
  }
  template <class Int>
  Int number() {
    Int v;
    std::memcpy(&v, take(sizeof v).data(), sizeof v);
    return v;
  }
};

// The bytes of count and gaps at the beginning of [p, end); what a chunk of mode `gaps` begins with.
size_t gap_plane(const char* begin, const char* end) {
  const auto* p = reinterpret_cast<const uint8_t*>(begin);
  const auto* const stop = reinterpret_cast<const uint8_t*>(end);
  uint64_t count = 0;
  for (int shift = 0;; shift += 7) {
    if (p == stop || shift > 28) malformed_delta("a count is cut short");
    const uint64_t byte = *p++;
    count |= (byte & 127) << shift;
    if (byte < 128) break;
  }
  if (count > static_cast<uint64_t>(kDeltaChunk)) malformed_delta(delta_status_text(DeltaStatus::too_many_changes));
  for (; count >= kBlock && static_cast<size_t>(stop - p) >= kBlock; p += kBlock) {
    uint8_t ends = 0;
    for (size_t i = 0; i < kBlock; ++i) ends = static_cast<uint8_t>(ends + (p[i] < 255));
    count -= ends;
  }
  while (count > 0) {
    if (p == stop) malformed_delta(delta_status_text(DeltaStatus::gaps_short));
    count -= *p++ < 255;
  }
  return static_cast<size_t>(reinterpret_cast<const char*>(p) - begin);
}

// Of a chunk of `bytes` that begin at `at`: how many of them are places.
size_t place_bytes(DeltaMode mode, const char* at, const char* end, size_t values) {
  switch (mode) {
    case DeltaMode::gaps:
      return gap_plane(at, end);
    case DeltaMode::bitmap:
      return (values + 7) / 8;
    default:
      return 0;
  }
}

struct FreeContext {
  void operator()(ZSTD_CCtx* c) const { ZSTD_freeCCtx(c); }
  void operator()(ZSTD_DCtx* c) const { ZSTD_freeDCtx(c); }
};

size_t steps_bytes(size_t bytes) { return (bytes + 3) / 4; }

std::string as_steps(const std::string& plane) {
  std::string out(steps_bytes(plane.size()), '\0');
  for (size_t i = 0; i < plane.size(); ++i) {
    const auto byte = static_cast<uint8_t>(plane[i]);
    if (byte < 4) out[i / 4] = static_cast<char>(static_cast<uint8_t>(out[i / 4]) | byte << i % 4 * 2);
    if (byte - 1u > 2u) out += plane[i];
  }
  return out;
}

// Four of them at a time, by what stands in one byte.
constexpr std::array<uint32_t, 256> kFourSteps = [] {
  std::array<uint32_t, 256> four{};
  for (uint32_t b = 0; b < 256; ++b) four[b] = (b & 3) | (b >> 2 & 3) << 8 | (b >> 4 & 3) << 16 | b >> 6 << 24;
  return four;
}();

// Bit i: byte i of the eight, all less than 4, is 0.
uint64_t zero_bytes(uint64_t eight) {
  return (~(eight + 0x7f7f7f7f7f7f7f7fu) >> 7 & 0x0101010101010101u) * 0x0102040810204080u >> 56;
}

std::string from_steps(std::string_view data, size_t bytes) {
  if (data.size() < steps_bytes(bytes)) malformed_delta("steps are cut short");
  std::string plane((bytes + kBlock - 1) / kBlock * kBlock, '\1');
  for (size_t i = 0; i < steps_bytes(bytes); ++i)
    std::memcpy(plane.data() + 4 * i, &kFourSteps[static_cast<uint8_t>(data[i])], sizeof(uint32_t));
  for (size_t i = bytes; i < 4 * steps_bytes(bytes); ++i)
    if (std::exchange(plane[i], '\1') != 0) malformed_delta("steps behind the last");
  const char* other = data.data() + steps_bytes(bytes);
  auto others = static_cast<int64_t>(data.size() - steps_bytes(bytes));
  for (size_t begin = 0; begin < plane.size(); begin += kBlock) {
    uint64_t zeros = 0, eight = 0;
    for (size_t i = 0; i < kBlock; i += 8) {
      std::memcpy(&eight, plane.data() + begin + i, sizeof eight);
      zeros |= zero_bytes(eight) << i;
    }
    others -= std::popcount(zeros);
    if (others < 0) malformed_delta("fewer other steps than are spoken of");
    for (; zeros != 0; zeros &= zeros - 1) plane[begin + static_cast<size_t>(std::countr_zero(zeros))] = *other++;
  }
  if (others != 0) malformed_delta("more other steps than are spoken of");
  plane.resize(bytes);
  return plane;
}

void put_plane(std::string& out, Coding coding, size_t bytes, std::string_view stored) {
  put(out, coding);
  put(out, static_cast<uint32_t>(bytes));
  put(out, static_cast<uint32_t>(stored.size()));
  out += stored;
}

// `compress`: try.
void put_plane(std::string& out, const std::string& plane, bool compress) {
  const size_t head = out.size();
  put_plane(out, Coding::plain, plane.size(), {});
  if (compress && plane.size() >= kWorthIt) {
    thread_local const std::unique_ptr<ZSTD_CCtx, FreeContext> context(ZSTD_createCCtx());
    const size_t begin = out.size();
    out.resize(begin + ZSTD_compressBound(plane.size()));
    const size_t stored =
        ZSTD_compressCCtx(context.get(), out.data() + begin, out.size() - begin, plane.data(), plane.size(), kLevel);
    if (!ZSTD_isError(stored) && stored < plane.size()) {
      out.resize(begin + stored);
      out[head] = static_cast<char>(Coding::zstd);
      const auto size = static_cast<uint32_t>(stored);
      std::memcpy(out.data() + head + 5, &size, sizeof size);
      return;
    }
  }
  out.resize(head);
  put_plane(out, Coding::plain, plane.size(), plane);
}

// Most values move to a neighbour: for half of the bytes steps are as small as what zstd makes of them, and sixteen times as
// fast to read.
void put_differences(std::string& out, const std::string& plane, size_t raw_bytes) {
  if (2 * raw_bytes < plane.size()) {  // values are as good as noise
    if (const std::string steps = as_steps(plane); 2 * steps.size() <= plane.size())
      return put_plane(out, Coding::steps, plane.size(), steps);
    return put_plane(out, plane, true);
  }
  put_plane(out, plane, false);
}

std::string take_plane(Reader& in, size_t most) {
  const auto coding = static_cast<Coding>(in.number<uint8_t>());
  const size_t bytes = in.number<uint32_t>(), stored = in.number<uint32_t>();
  if (coding > Coding::steps) malformed_delta("a plane of an unknown coding");
  if (bytes > most) malformed_delta("a plane larger than its values");
  const std::string_view data = in.take(stored);
  if (coding == Coding::steps) return from_steps(data, bytes);
  if (coding == Coding::plain) {
    if (stored != bytes) malformed_delta("a plane of another size");
    return std::string(data);
  }
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeContext> context(ZSTD_createDCtx());
  std::string plane(bytes, '\0');
  if (ZSTD_decompressDCtx(context.get(), plane.data(), bytes, data.data(), data.size()) != bytes)
    malformed_delta("a plane that zstd does not read");
  return plane;
}

}  // namespace

void malformed_delta(const char* why) {
  throw failure(fmt::format("weight delta is malformed: {}", why), {}, "the sender is asked for the whole version");
}

std::string pack_chunks(const CodedChunks& chunks) {
  std::string places, differences;
  size_t raw_bytes = 0;
  for (size_t c = 0; c < chunks.codes.size(); c += 2) {
    put(places, static_cast<uint8_t>(chunks.codes[c]));
    put(places, static_cast<uint32_t>(chunks.codes[c + 1]));
  }
  const char* at = reinterpret_cast<const char*>(chunks.payload.data());
  for (size_t c = 0; c < chunks.codes.size(); c += 2) {
    const auto mode = static_cast<DeltaMode>(chunks.codes[c]);
    const auto bytes = static_cast<size_t>(chunks.codes[c + 1]);
    // A bitmap of the last chunk is shorter than of the others; its differences are then in the plane of places.
    const size_t first = std::min(bytes, place_bytes(mode, at, at + bytes, kDeltaChunk));
    places.append(at, first);
    differences.append(at + first, bytes - first);
    if (mode == DeltaMode::raw) raw_bytes += bytes;
    at += bytes;
  }
  std::string out;
  out.reserve(2 * kPlaneHead + places.size() + differences.size());
  put_plane(out, places, true);
  put_differences(out, differences, raw_bytes);
  return out;
}

CodedChunks unpack_chunks(std::string_view bytes, int64_t values, size_t value_bytes) {
  const auto count = static_cast<size_t>((values + kDeltaChunk - 1) / kDeltaChunk);
  const size_t most = count * (kCodeBytes + static_cast<size_t>(kDeltaChunk) * value_bytes);
  Reader in{bytes.data(), bytes.data() + bytes.size()};
  const std::string places = take_plane(in, most), differences = take_plane(in, most);
  if (in.left() != 0) malformed_delta("bytes are left over");

  CodedChunks out;
  Reader place{places.data(), places.data() + places.size()};
  Reader difference{differences.data(), differences.data() + differences.size()};
  size_t total = 0;
  for (size_t c = 0; c < count; ++c) {
    const auto mode = place.number<uint8_t>();
    const auto size = place.number<uint32_t>();
    if (mode > static_cast<uint8_t>(DeltaMode::raw)) malformed_delta("an unknown kind of chunk");
    if (size > static_cast<size_t>(kDeltaChunk) * value_bytes) malformed_delta("a chunk larger than its values");
    out.codes.insert(out.codes.end(), {mode, static_cast<int32_t>(size)});
    total += size;
  }
  out.payload.reserve((total + 3) / 4 * 4);
  for (size_t c = 0; c < out.codes.size(); c += 2) {
    const auto mode = static_cast<DeltaMode>(out.codes[c]);
    const auto size = static_cast<size_t>(out.codes[c + 1]);
    const size_t first = std::min(size, place_bytes(mode, place.p, place.end, kDeltaChunk));
    const std::string_view a = place.take(first), b = difference.take(size - first);
    out.payload.insert(out.payload.end(), a.begin(), a.end());
    out.payload.insert(out.payload.end(), b.begin(), b.end());
  }
  if (place.left() != 0 || difference.left() != 0) malformed_delta("bytes are left over");
  return out;
}

}  // namespace r1
