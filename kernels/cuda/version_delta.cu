// DeltaMeasure, DeltaEncode and DeltaApply (kernels/delta_format.h), byte for byte what the CPU writes; a block a chunk.
//
// A thread owns kOwn values that follow each other, so its part of each stream of varints is one piece, and where a piece
// begins is a scan over the threads. Reading is a chain of varints: one thread does it, the chunks side by side.
#include "kernels/cuda/device_code.h"
#include "kernels/cuda/kernels.h"
#include "kernels/delta_format.h"

namespace r1::cuda {
namespace {

constexpr int64_t kOwn = kDeltaChunk / kBlock;
static_assert(kOwn % 8 == 0, "a thread owns whole bytes of the bitmap");
using Shared = BlockShared<int, kBlock>;

__device__ inline int bits_of(uint32_t v) { return 32 - __clz(static_cast<int>(v)); }
__device__ inline int varint_bytes(uint32_t v) { return v < 128 ? 1 : (bits_of(v) + 6) / 7; }
__device__ inline unsigned char* put_varint(unsigned char* out, uint32_t v) {
  for (; v >= 128; v >>= 7) *out++ = static_cast<unsigned char>(v | 128);
  *out++ = static_cast<unsigned char>(v);
  return out;
}
__device__ inline int gap_bytes(uint32_t gap) { return static_cast<int>(gap / 255) + 1; }
__device__ inline unsigned char* put_gap(unsigned char* out, uint32_t gap) {
  for (; gap >= 255; gap -= 255) *out++ = 255;
  *out++ = static_cast<unsigned char>(gap);
  return out;
}

// value_mark of delta_format.h.
struct Sum {
  uint64_t a = 0, b = 0;
  __device__ void mark(uint64_t place, uint64_t bits, bool add) {
    uint64_t x = place * kMarkPlace + bits * kMarkValue;
    x ^= x >> 32;
    uint64_t y = x * kMarkA, z = (x + kMarkStepB) * kMarkB;
    y ^= y >> 29;
    z ^= z >> 31;
    a += add ? y * kMarkEndA : 0 - y * kMarkEndA;
    b += add ? z * kMarkEndB : 0 - z * kMarkEndB;
  }
  __device__ void change(int64_t place, uint64_t before, uint64_t after) {
    if (before == after) return;
    mark(static_cast<uint64_t>(place), before, false);
    mark(static_cast<uint64_t>(place), after, true);
  }
};
// Of all threads of the block, into sums[chunk]; sums: or null.
template <int kThreads>
__device__ void put_sum(const Sum& own, int64_t* sums, BlockShared<uint64_t, kThreads>& shared) {
  if (sums == nullptr) return;
  const uint64_t a = block_sum(own.a, shared), b = block_sum(own.b, shared);
  if (threadIdx.x != 0) return;
  sums[2 * blockIdx.x] = static_cast<int64_t>(a);
  sums[2 * blockIdx.x + 1] = static_cast<int64_t>(b);
}

// zigzag_difference and undo_zigzag of delta_format.h, whose functions are the host's.
template <class Bits>
__device__ inline Bits zigzag(Bits from, Bits to) {
  const Bits d = static_cast<Bits>(to - from);
  const bool negative = (d >> (8 * sizeof(Bits) - 1)) != 0;
  return static_cast<Bits>(static_cast<Bits>(d << 1) ^ static_cast<Bits>(negative ? ~Bits{0} : Bits{0}));
}
template <class Bits>
__device__ inline Bits unzigzag(Bits from, Bits z) {
  return static_cast<Bits>(from + static_cast<Bits>((z >> 1) ^ static_cast<Bits>(0 - (z & 1))));
}

// One chunk, and this thread's values [begin, end) of it.
template <class Bits>
struct Chunk {
  const Bits *previous, *next;  // previous: or null
  int64_t n, begin, end;
};
template <class Bits>
__device__ Chunk<Bits> own_chunk(const Bits* previous, const Bits* next, int64_t n) {
  const int64_t at = blockIdx.x * kDeltaChunk, values = n - at < kDeltaChunk ? n - at : kDeltaChunk;
  const int64_t begin = threadIdx.x * kOwn;
  return {previous != nullptr ? previous + at : nullptr, next + at, values, begin < values ? begin : values,
          begin + kOwn < values ? begin + kOwn : values};
}
template <class Bits, class F>
__device__ void each_change(const Chunk<Bits>& c, F f) {
  for (int64_t i = c.begin; i < c.end; ++i)
    if (c.previous[i] != c.next[i]) f(static_cast<int>(i));
}

// What the values before this thread's hold, and all of them.
struct Sizes {
  int count = 0, diffs = 0, gaps = 0;
};
struct Layout {
  Sizes before, all;
  int expected;  // the index behind the last change before this thread's values
};
template <class Bits>
__device__ Layout lay_out(const Chunk<Bits>& c, Shared& shared) {
  const auto add = [](int a, int b) { return a + b; };
  Sizes own;
  int last = 0;
  each_change(c, [&](int i) {
    ++own.count;
    own.diffs += varint_bytes(zigzag(c.previous[i], c.next[i]));
    last = i + 1;
  });
  Layout l;
  l.expected = block_scan(last, 0, shared, [](int a, int b) { return a > b ? a : b; }).before;
  int expected = l.expected;
  each_change(c, [&](int i) {
    own.gaps += gap_bytes(static_cast<uint32_t>(i - expected));
    expected = i + 1;
  });
  const Scanned<int> count = block_scan(own.count, 0, shared, add), diffs = block_scan(own.diffs, 0, shared, add),
                     gaps = block_scan(own.gaps, 0, shared, add);
  l.before = {count.before, diffs.before, gaps.before};
  l.all = {count.all, diffs.all, gaps.all};
  return l;
}

template <class Bits>
__global__ void measure_kernel(const Bits* previous, const Bits* next, int32_t* codes, int64_t n) {
  R1_SHARED(Shared, shared);
  const Chunk<Bits> c = own_chunk(previous, next, n);
  const int raw = static_cast<int>(c.n * static_cast<int64_t>(sizeof(Bits)));
  DeltaMode mode = DeltaMode::raw;
  int bytes = raw;
  if (previous != nullptr) {
    const Sizes all = lay_out(c, shared).all;
    const int bitmap = static_cast<int>((c.n + 7) / 8), gaps = varint_bytes(static_cast<uint32_t>(all.count)) + all.gaps;
    const int coded = (gaps < bitmap ? gaps : bitmap) + all.diffs;
    if (all.count == 0)
      mode = DeltaMode::same, bytes = 0;
    else if (coded < raw)
      mode = bitmap <= gaps ? DeltaMode::bitmap : DeltaMode::gaps, bytes = coded;
  }
  if (threadIdx.x != 0) return;
  codes[2 * blockIdx.x] = static_cast<int32_t>(mode);
  codes[2 * blockIdx.x + 1] = bytes;
}

// offsets[c]: where chunk c's payload begins; one more than chunks. Sizes below 0 count as 0. One block.
__global__ void payload_offsets_kernel(const int32_t* codes, int64_t* offsets, int64_t chunks) {
  using LongShared = BlockShared<int64_t, kBlock>;
  R1_SHARED(LongShared, shared);
  const int64_t each = (chunks + kBlock - 1) / kBlock, begin = threadIdx.x * each;
  const int64_t end = begin + each < chunks ? begin + each : chunks;
  const auto bytes = [&](int64_t c) { return static_cast<int64_t>(codes[2 * c + 1] > 0 ? codes[2 * c + 1] : 0); };
  int64_t sum = 0;
  for (int64_t c = begin; c < end; ++c) sum += bytes(c);
  const auto scanned = block_scan(sum, int64_t{0}, shared, [](int64_t a, int64_t b) { return a + b; });
  int64_t at = scanned.before;
  for (int64_t c = begin; c < end; ++c) {
    offsets[c] = at;
    at += bytes(c);
  }
  if (threadIdx.x == 0) offsets[chunks] = scanned.all;
}

__global__ void clear_rest_kernel(unsigned char* payload, const int64_t* end, int64_t held) {
  for (int64_t i = *end + threadIdx.x; i < held; i += blockDim.x) payload[i] = 0;
}

template <class Bits>
__global__ void encode_kernel(const Bits* previous, const Bits* next, const int32_t* codes, const int64_t* offsets,
                              unsigned char* payload, int64_t n, int64_t* sums, int64_t first) {
  R1_SHARED(Shared, shared);
  using Words = BlockShared<uint64_t, kBlock>;
  R1_SHARED(Words, words);
  const Chunk<Bits> c = own_chunk(previous, next, n);
  Sum sum;
  if (sums != nullptr && previous != nullptr)
    each_change(c, [&](int i) { sum.change(first + blockIdx.x * kDeltaChunk + i, c.previous[i], c.next[i]); });
  put_sum(sum, sums, words);
  const auto mode = static_cast<DeltaMode>(codes[2 * blockIdx.x]);
  unsigned char* out = payload + offsets[blockIdx.x];
  if (mode == DeltaMode::same) return;
  if (mode == DeltaMode::raw) {
    const auto* const bytes = reinterpret_cast<const unsigned char*>(c.next);
    for (int64_t i = threadIdx.x; i < c.n * static_cast<int64_t>(sizeof(Bits)); i += kBlock) out[i] = bytes[i];
    return;
  }
  const Layout l = lay_out(c, shared);
  if (mode == DeltaMode::bitmap) {
    for (int64_t i = c.begin; i < c.end; i += 8) {
      unsigned bits = 0;
      for (int64_t b = 0; b < 8 && i + b < c.end; ++b) bits |= static_cast<unsigned>(c.previous[i + b] != c.next[i + b]) << b;
      out[i / 8] = static_cast<unsigned char>(bits);
    }
    out += (c.n + 7) / 8;
  } else {
    const auto count = static_cast<uint32_t>(l.all.count);
    if (threadIdx.x == 0) put_varint(out, count);
    out += varint_bytes(count);
    unsigned char* gap = out + l.before.gaps;
    int expected = l.expected;
    each_change(c, [&](int i) {
      gap = put_gap(gap, static_cast<uint32_t>(i - expected));
      expected = i + 1;
    });
    out += l.all.gaps;
  }
  unsigned char* diff = out + l.before.diffs;
  each_change(c, [&](int i) { diff = put_varint(diff, zigzag(c.previous[i], c.next[i])); });
}

// Reads what may be anything. The first thing that is wrong stays in `status`; what is read after it is 0.
struct Reader {
  const unsigned char *p, *end;
  DeltaStatus status;

  __device__ uint64_t fail(DeltaStatus s) {
    if (status == DeltaStatus::ok) status = s;
    return 0;
  }
  __device__ uint64_t gap() {
    for (uint64_t v = 0;; v += 255) {
      if (p == end) return fail(DeltaStatus::gaps_short);
      if (const uint64_t byte = *p++; byte < 255) return v + byte;
    }
  }
  __device__ uint64_t varint(int max_bits) {
    uint64_t v = 0;
    for (int shift = 0; shift < max_bits; shift += 7) {
      if (p == end) return fail(DeltaStatus::varint_short);
      const uint64_t byte = *p++;
      v |= (byte & 127) << shift;
      if (byte < 128) return (v >> max_bits) != 0 ? fail(DeltaStatus::varint_range) : v;
    }
    return fail(DeltaStatus::varint_long);
  }
  // The next difference, applied to `value`, which is at `place`.
  template <class Bits>
  __device__ void step(Bits& value, int64_t place, Sum& sum) {
    const Bits z = static_cast<Bits>(varint(static_cast<int>(sizeof(Bits)) * 8));
    if (z == 0) fail(DeltaStatus::zero_difference);
    if (status != DeltaStatus::ok) return;
    const Bits before = value;
    value = unzigzag(value, z);
    sum.change(place, before, value);
  }
};

template <class Bits>
__device__ DeltaStatus apply_bitmap(Reader r, Bits* values, int64_t n, int64_t first, Sum& sum) {
  const unsigned char* const bitmap = r.p;
  const int64_t bytes = (n + 7) / 8;
  if (r.end - r.p < bytes) return DeltaStatus::bitmap_short;
  r.p += bytes;
  for (int64_t i = 0; i < bytes * 8; ++i) {
    if ((bitmap[i / 8] >> (i % 8) & 1) == 0) continue;
    if (i >= n) return DeltaStatus::bitmap_long;
    r.step(values[i], first + i, sum);
    if (r.status != DeltaStatus::ok) return r.status;
  }
  return r.p == r.end ? r.status : DeltaStatus::left_over;
}

template <class Bits>
__device__ DeltaStatus apply_gaps(Reader r, Bits* values, int64_t n, int64_t first, Sum& sum) {
  const uint64_t count = r.varint(32);
  if (r.status == DeltaStatus::ok && count > static_cast<uint64_t>(n)) return DeltaStatus::too_many_changes;
  Reader diffs = r;  // begins where the gaps end
  for (uint64_t c = 0; c < count && diffs.status == DeltaStatus::ok; ++c) diffs.gap();
  if (diffs.status != DeltaStatus::ok) return diffs.status;
  uint64_t i = 0;
  for (uint64_t c = 0; c < count; ++c) {
    i += r.gap();
    if (i >= static_cast<uint64_t>(n)) return DeltaStatus::change_outside;
    diffs.step(values[i], first + static_cast<int64_t>(i), sum);
    if (diffs.status != DeltaStatus::ok) return diffs.status;
    ++i;
  }
  return diffs.p == diffs.end ? diffs.status : DeltaStatus::left_over;
}

constexpr int kApplyBlock = 128;

template <class Bits>
__global__ void apply_kernel(const int32_t* codes, const int64_t* offsets, const unsigned char* payload, int64_t held,
                             Bits* values, int32_t* status, int64_t n, int64_t* sums, int64_t first) {
  using Words = BlockShared<uint64_t, kApplyBlock>;
  R1_SHARED(Words, words);
  const int64_t at = blockIdx.x * kDeltaChunk, chunk = n - at < kDeltaChunk ? n - at : kDeltaChunk;
  const int64_t begin = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
  const int32_t mode = codes[2 * blockIdx.x];
  DeltaStatus s = DeltaStatus::ok;
  Sum sum;
  if (end > held || codes[2 * blockIdx.x + 1] < 0) {
    s = DeltaStatus::cut_short;
  } else if (mode == static_cast<int32_t>(DeltaMode::raw)) {
    if (end - begin != chunk * static_cast<int64_t>(sizeof(Bits)))
      s = DeltaStatus::raw_size;
    else
      for (int64_t i = threadIdx.x; i < chunk; i += blockDim.x) {
        const unsigned char* const bytes = payload + begin + i * static_cast<int64_t>(sizeof(Bits));
        Bits value = 0;
        for (int b = static_cast<int>(sizeof(Bits)); b-- > 0;) value = static_cast<Bits>(value << 8 | bytes[b]);
        if (sums != nullptr) sum.change(first + at + i, values[at + i], value);
        values[at + i] = value;
      }
  } else if (threadIdx.x == 0) {
    const Reader r{payload + begin, payload + end, DeltaStatus::ok};
    if (mode == static_cast<int32_t>(DeltaMode::bitmap))
      s = apply_bitmap(r, values + at, chunk, first + at, sum);
    else if (mode == static_cast<int32_t>(DeltaMode::gaps))
      s = apply_gaps(r, values + at, chunk, first + at, sum);
    else if (mode != static_cast<int32_t>(DeltaMode::same))
      s = DeltaStatus::unknown_mode;
    else if (begin != end)
      s = DeltaStatus::left_over;
  }
  if (s != DeltaStatus::ok) sum = {};
  put_sum(sum, sums, words);
  if (threadIdx.x == 0) status[blockIdx.x] = static_cast<int32_t>(s);
}

template <class F>
void with_bits(const View& v, F&& f) {
  v.dtype == DType::bf16 ? f(uint16_t{}) : f(uint32_t{});
}

int64_t* payload_offsets(Context& ctx, Scratch& scratch, const View& codes) {
  int64_t* const offsets = scratch.longs(codes.shape[0] + 1);
  launch(ctx, "payload_offsets", payload_offsets_kernel, 1, kBlock, 0, data<const int32_t>(codes), offsets, codes.shape[0]);
  return offsets;
}

}  // namespace

void delta_measure(Context& ctx, const DeltaMeasure& op) {
  with_bits(op.next, [&](auto b) {
    using Bits = decltype(b);
    launch(ctx, "delta_measure", measure_kernel<Bits>, static_cast<unsigned>(op.codes.shape[0]), kBlock, 0,
           data<const Bits>(op.previous), data<const Bits>(op.next), data<int32_t>(op.codes), op.next.size());
  });
}

void delta_encode(Context& ctx, const DeltaEncode& op) {
  Scratch scratch(ctx);
  const int64_t* const offsets = payload_offsets(ctx, scratch, op.codes);
  auto* const payload = data<unsigned char>(op.payload);
  with_bits(op.next, [&](auto b) {
    using Bits = decltype(b);
    launch(ctx, "delta_encode", encode_kernel<Bits>, static_cast<unsigned>(op.codes.shape[0]), kBlock, 0,
           data<const Bits>(op.previous), data<const Bits>(op.next), data<const int32_t>(op.codes), offsets, payload,
           op.next.size(), data<int64_t>(op.sums), op.first);
  });
  launch(ctx, "clear_rest", clear_rest_kernel, 1, 32, 0, payload, offsets + op.codes.shape[0], op.payload.size() * 4);
}

void delta_apply(Context& ctx, const DeltaApply& op) {
  Scratch scratch(ctx);
  const int64_t* const offsets = payload_offsets(ctx, scratch, op.codes);
  with_bits(op.values, [&](auto b) {
    using Bits = decltype(b);
    launch(ctx, "delta_apply", apply_kernel<Bits>, static_cast<unsigned>(op.codes.shape[0]), kApplyBlock, 0,
           data<const int32_t>(op.codes), offsets, data<const unsigned char>(op.payload), op.payload.size() * 4,
           data<Bits>(op.values), data<int32_t>(op.status), op.values.size(), data<int64_t>(op.sums), op.first);
  });
}

}  // namespace r1::cuda
