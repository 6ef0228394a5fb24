// AMX tiles: eight registers of 16 rows of 64 bytes, and the one product that bf16 kernels need; by the hardware, and by
// AVX-512 with the same bits.
//
// dot: c[m][n] of f32 is given, in order,
//   e = 0, o = 0;  for k in [0,16): e = fma(a[m][2k], b[k][2n], e), o = fma(a[m][2k+1], b[k][2n+1], o);  c += e + o
// where a and b are bf16, b holding pairs of rows; every step rounds to nearest even, and a denormal number is zero, as operand
// and as result. Source: Intel SDM, TDPBF16PS. Which of two tiles is a and which b therefore changes no bit.
// Thread rule: a Tiles is the state of the calling thread between construction and the last store; not across other code that
// uses tiles.
#pragma once

#include <cstdint>
#include <cstring>

namespace r1::cpu {

inline constexpr int64_t kTileRows = 16, kTileBytes = 1024, kTileFloats = kTileBytes / 4;

// While it lives denormal numbers are zero on this thread, in operands and results, and rounding is to nearest even: as in a
// tile, for what is computed around it or in its place.
class NoDenormals {
 public:
  NoDenormals();
  ~NoDenormals();
  NoDenormals(const NoDenormals&) = delete;
  NoDenormals& operator=(const NoDenormals&) = delete;

 private:
  unsigned before_;
};

class HardwareTiles {
 public:
  HardwareTiles();  // all tiles whole; for a thread of a process that was permitted to (kernels/cpu/isa.h)
  template <int T>
  void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(T));
  }
  // Sixteen rows of 64 bytes, `stride` bytes apart.
  template <int T>
  void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(T) : "memory");
  }
  template <int T>
  void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(T) : "memory");
  }
  template <int C, int A, int B>
  void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
  }
};

class SoftwareTiles {
 public:
  template <int T>
  void zero() {
    zero(T);
  }
  template <int T>
  void load(const void* from, int64_t stride) {
    load(T, from, stride);
  }
  template <int T>
  void store(void* to, int64_t stride) {
    store(T, to, stride);
  }
  template <int C, int A, int B>
  void dot() {
    dot(C, A, B);
  }

 private:
  void zero(int t);
  void load(int t, const void* from, int64_t stride);
  void store(int t, void* to, int64_t stride) const;
  void dot(int c, int a, int b);

  alignas(64) uint32_t tile_[8][kTileRows][16];
};

// Operands of one product, as bits: c, then a and b of bf16.
struct TileOperands {
  alignas(64) uint32_t c[kTileRows][16], a[kTileRows][16], b[kTileRows][16];
};
// Ordinary numbers; where `denormals`, every eighth of all three is a denormal one, which counts as zero.
TileOperands random_tile_operands(uint64_t seed, bool denormals);

// to.c = x.c and twice the product of x.a and x.b.
template <class T>
void two_products(T& tiles, const TileOperands& x, TileOperands& to) {
  tiles.template load<0>(x.c, 64);
  tiles.template load<4>(x.a, 64);
  tiles.template load<7>(x.b, 64);
  tiles.template dot<0, 4, 7>();
  tiles.template dot<0, 4, 7>();
  tiles.template store<0>(to.c, 64);
}

// Whether these tiles give the bits that SoftwareTiles do. Takes less than a millisecond.
template <class T>
bool tiles_agree(T& tiles) {
  SoftwareTiles software;
  for (uint64_t seed = 0; seed < 16; ++seed) {
    const TileOperands x = random_tile_operands(seed, seed % 2 == 1);
    TileOperands got = x, want = x;
    two_products(tiles, x, got);
    two_products(software, x, want);
    if (std::memcmp(got.c, want.c, sizeof got.c) != 0) return false;
  }
  return true;
}

}  // namespace r1::cpu
