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

namespace r1::cpu {

inline constexpr int64_t kTileRows = 16, kTileBytes = 1024;

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

}  // namespace r1::cpu
