// HashSpans: XXH3-128 of spans of device memory, the very hashes of base/hash.h, so that a version is hashed where it lies.
//
// A warp a span: within a block of 1024 bytes the eight sums are of independent products, only the scrambling at its end is a
// chain. Spans of up to 240 bytes have algorithms of their own, which one thread runs. Source: the specification of XXH3
// (xxHash 0.8), seed 0 and default secret.
#include "kernels/cuda/device_code.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

constexpr int kSecretBytes = 192, kSmallestSecret = 136, kShort = 240, kStripe = 64, kStripes = 16, kWarps = 4;
struct Secret {
  unsigned char bytes[kSecretBytes];
};
constexpr Secret kSecret = {{
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c, 0xde, 0xd4, 0x6d, 0xe9,
    0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78,
    0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21, 0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6,
    0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8, 0xa8, 0xfa, 0x76, 0x3f,
    0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d, 0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31,
    0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64, 0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff,
    0xfa, 0x13, 0x63, 0xeb, 0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce, 0x45, 0xcb, 0x3a, 0x8f,
    0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
}};

constexpr uint32_t kPrime32_1 = 0x9E3779B1u, kPrime32_2 = 0x85EBCA77u, kPrime32_3 = 0xC2B2AE3Du;
constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87ull, kPrime2 = 0xC2B2AE3D27D4EB4Full, kPrime3 = 0x165667B19E3779F9ull,
                   kPrime4 = 0x85EBCA77C2B2AE63ull, kPrime5 = 0x27D4EB2F165667C5ull, kMix = 0x9FB21C651E98DF25ull;

struct Words {
  uint64_t low, high;
};

// Little-endian, of any alignment.
__device__ inline uint64_t read(const unsigned char* p, int bytes) {
  uint64_t v = 0;
  for (int i = bytes - 1; i >= 0; --i) v = v << 8 | p[i];
  return v;
}
__device__ inline uint64_t read64(const unsigned char* p) { return read(p, 8); }
__device__ inline uint32_t read32(const unsigned char* p) { return static_cast<uint32_t>(read(p, 4)); }

__device__ inline Words multiply(uint64_t a, uint64_t b) {
  const uint64_t a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
  const uint64_t middle = (a0 * b0 >> 32) + (a1 * b0 & 0xffffffffu) + a0 * b1;
  return {a * b, (a1 * b0 >> 32) + (middle >> 32) + a1 * b1};
}
__device__ inline uint64_t fold(uint64_t a, uint64_t b) {
  const Words w = multiply(a, b);
  return w.low ^ w.high;
}
__device__ inline uint64_t avalanche(uint64_t h) {
  h = (h ^ h >> 37) * 0x165667919E3779F9ull;
  return h ^ h >> 32;
}
__device__ inline uint64_t avalanche64(uint64_t h) {
  h = (h ^ h >> 33) * kPrime2;
  h = (h ^ h >> 29) * kPrime3;
  return h ^ h >> 32;
}
__device__ inline uint32_t swapped(uint32_t x) { return x >> 24 | (x >> 8 & 0xff00u) | (x << 8 & 0xff0000u) | x << 24; }
__device__ inline uint64_t swapped(uint64_t x) {
  return static_cast<uint64_t>(swapped(static_cast<uint32_t>(x))) << 32 | swapped(static_cast<uint32_t>(x >> 32));
}

__device__ inline Words up_to_16(const unsigned char* p, uint64_t n, const unsigned char* s) {
  if (n > 8) {
    const uint64_t first = read64(p), last = read64(p + n - 8) ^ read64(s + 48) ^ read64(s + 56);
    Words m = multiply(first ^ read64(p + n - 8) ^ read64(s + 32) ^ read64(s + 40), kPrime1);
    m.low += (n - 1) << 54;
    m.high += last + (last & 0xffffffffu) * (kPrime32_2 - 1);
    m.low ^= swapped(m.high);
    Words h = multiply(m.low, kPrime2);
    h.high += m.high * kPrime2;
    return {avalanche(h.low), avalanche(h.high)};
  }
  if (n >= 4) {
    const uint64_t both = read32(p) + (static_cast<uint64_t>(read32(p + n - 4)) << 32);
    Words m = multiply(both ^ read64(s + 16) ^ read64(s + 24), kPrime1 + (n << 2));
    m.high += m.low << 1;
    m.low ^= m.high >> 3;
    m.low = (m.low ^ m.low >> 35) * kMix;
    return {m.low ^ m.low >> 28, avalanche(m.high)};
  }
  if (n == 0) return {avalanche64(read64(s + 64) ^ read64(s + 72)), avalanche64(read64(s + 80) ^ read64(s + 88))};
  const uint32_t low =
      static_cast<uint32_t>(p[0]) << 16 | static_cast<uint32_t>(p[n >> 1]) << 24 | p[n - 1] | static_cast<uint32_t>(n) << 8;
  const uint32_t turned = swapped(low), high = turned << 13 | turned >> 19;
  return {avalanche64(low ^ static_cast<uint64_t>(read32(s) ^ read32(s + 4))),
          avalanche64(high ^ static_cast<uint64_t>(read32(s + 8) ^ read32(s + 12)))};
}

__device__ inline void mix(Words& h, const unsigned char* a, const unsigned char* b, const unsigned char* s) {
  h.low += fold(read64(a) ^ read64(s), read64(a + 8) ^ read64(s + 8));
  h.low ^= read64(b) + read64(b + 8);
  h.high += fold(read64(b) ^ read64(s + 16), read64(b + 8) ^ read64(s + 24));
  h.high ^= read64(a) + read64(a + 8);
}

__device__ inline Words up_to_240(const unsigned char* p, uint64_t n, const unsigned char* s) {
  Words h{n * kPrime1, 0};
  if (n <= 128) {
    for (int i = static_cast<int>((n - 1) / 32); i >= 0; --i) mix(h, p + 16 * i, p + n - 16 * (i + 1), s + 32 * i);
  } else {
    for (int i = 0; i < 4; ++i) mix(h, p + 32 * i, p + 32 * i + 16, s + 32 * i);
    h = {avalanche(h.low), avalanche(h.high)};
    for (int i = 4; i < static_cast<int>(n / 32); ++i) mix(h, p + 32 * i, p + 32 * i + 16, s + 3 + 32 * (i - 4));
    mix(h, p + n - 16, p + n - 32, s + kSmallestSecret - 33);
  }
  return {avalanche(h.low + h.high), 0 - avalanche(h.low * kPrime1 + h.high * kPrime4 + n * kPrime2)};
}

// By the whole warp; lane l holds sum l % 8 and takes every fourth stripe, from l / 8 on. The result is in every lane.
__device__ Words longer(const unsigned char* p, int64_t n, const unsigned char* secret) {
  const int lane = threadIdx.x % 32, l = lane % 8, part = lane / 8;
  const bool aligned = reinterpret_cast<uintptr_t>(p) % 8 == 0;
  const uint64_t starts[8] = {kPrime32_3, kPrime1, kPrime2, kPrime3, kPrime4, kPrime32_2, kPrime5, kPrime32_1};
  uint64_t sum = 0, keys[4];
  for (int i = 0; i < 8; ++i)
    if (i == l) sum = starts[i];
  for (int i = 0; i < 4; ++i) keys[i] = read64(secret + (part + 4 * i) * 8 + l * 8);
  const uint64_t scramble = read64(secret + kSecretBytes - kStripe + l * 8);
  uint64_t own = 0, neighbour = 0;
  const auto add = [&](const unsigned char* stripe, uint64_t key, bool whole) {
    const unsigned char* const at = stripe + l * 8;
    const uint64_t v = whole ? *reinterpret_cast<const uint64_t*>(at) : read64(at), k = v ^ key;
    own += (k & 0xffffffffu) * (k >> 32);
    neighbour += v;
  };
  // Over the four parts; what a lane adds for its neighbour changes places.
  const auto gather = [&] {
    for (int x = 8; x < 32; x <<= 1) {
      own += __shfl_xor_sync(~0u, own, x);
      neighbour += __shfl_xor_sync(~0u, neighbour, x);
    }
    sum += own + __shfl_xor_sync(~0u, neighbour, 1);
    own = neighbour = 0;
  };
  constexpr int64_t kBlockBytes = kStripe * kStripes;
  const int64_t blocks = (n - 1) / kBlockBytes;
  for (int64_t b = 0; b < blocks; ++b) {
    for (int i = 0; i < 4; ++i) add(p + b * kBlockBytes + (part + 4 * i) * kStripe, keys[i], aligned);
    gather();
    sum = (sum ^ sum >> 47 ^ scramble) * kPrime32_1;
  }
  const int stripes = static_cast<int>((n - 1 - blocks * kBlockBytes) / kStripe);
  for (int i = 0; i < 4; ++i)
    if (part + 4 * i < stripes) add(p + blocks * kBlockBytes + (part + 4 * i) * kStripe, keys[i], aligned);
  if (part == 0) add(p + n - kStripe, read64(secret + kSecretBytes - kStripe - 7 + l * 8), aligned && n % 8 == 0);
  gather();
  // Pairs of sums are folded by lanes 0, 2, 4 and 6.
  const uint64_t other = __shfl_xor_sync(~0u, sum, 1);
  const uint64_t length = static_cast<uint64_t>(n);
  Words h{0, 0};
  if (lane < 8 && l % 2 == 0) {
    const unsigned char *const a = secret + 11 + l * 8, *const b = secret + kSecretBytes - kStripe - 11 + l * 8;
    h = {fold(sum ^ read64(a), other ^ read64(a + 8)), fold(sum ^ read64(b), other ^ read64(b + 8))};
  }
  h = {warp_sum(h.low), warp_sum(h.high)};
  return {avalanche(h.low + length * kPrime1), avalanche(h.high + ~(length * kPrime2))};
}

__global__ void hash_kernel(const unsigned char* x, int64_t item, const int64_t* spans, int64_t* hashes, int64_t n,
                            const Secret secret) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (c >= n) return;
  const unsigned char* const p = x + spans[2 * c] * item;
  const int64_t bytes = (spans[2 * c + 1] - spans[2 * c]) * item;
  Words h{0, 0};
  if (bytes > kShort)
    h = longer(p, bytes, secret.bytes);
  else if (threadIdx.x % 32 == 0)
    h = bytes <= 16 ? up_to_16(p, static_cast<uint64_t>(bytes), secret.bytes)
                    : up_to_240(p, static_cast<uint64_t>(bytes), secret.bytes);
  if (threadIdx.x % 32 != 0) return;
  hashes[2 * c] = static_cast<int64_t>(h.high);
  hashes[2 * c + 1] = static_cast<int64_t>(h.low);
}

// The first value whose exponent is all ones, or -1; a block a span.
template <class Bits>
__global__ void not_finite_kernel(const Bits* x, Bits exponent, const int64_t* spans, int64_t* found) {
  using Shared = BlockShared<int64_t, kBlock>;
  R1_SHARED(Shared, shared);
  const int64_t begin = spans[2 * blockIdx.x], n = spans[2 * blockIdx.x + 1] - begin;
  int64_t first = n;
  for (int64_t i = threadIdx.x; i < n && first == n; i += kBlock)
    if ((x[begin + i] & exponent) == exponent) first = i;
  first = block_join(first, shared, [](int64_t a, int64_t b) { return a < b ? a : b; });
  if (threadIdx.x == 0) found[blockIdx.x] = first < n ? first : -1;
}

}  // namespace

void hash_spans(Context& ctx, const HashSpans& op) {
  const int64_t n = op.spans.shape[0];
  const auto* const spans = data<const int64_t>(op.spans);
  launch(ctx, "hash_spans", hash_kernel, blocks_for(n, kWarps), kWarps * 32, 0, data<const unsigned char>(op.x),
         static_cast<int64_t>(dtype_size(op.x.dtype)), spans, data<int64_t>(op.hashes), n, kSecret);
  if (!op.not_finite) return;
  const auto go = [&](auto exponent) {
    using Bits = decltype(exponent);
    launch(ctx, "not_finite", not_finite_kernel<Bits>, static_cast<unsigned>(n), kBlock, 0, data<const Bits>(op.x), exponent,
           spans, data<int64_t>(op.not_finite));
  };
  op.x.dtype == DType::bf16 ? go(uint16_t{0x7f80}) : go(uint32_t{0x7f800000});
}

}  // namespace r1::cuda
