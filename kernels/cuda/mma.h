// Tensor cores as warp functions: 8x8 matrices out of shared memory, and products of them; and asynchronous copies into it. In
// PTX on a card (sm_80 and later), over the emulator on the host.
//
// Legend: lane l of a warp has g = l / 4 and t = l % 4. An element pair of 16-bit values is one register, the lower index in
// its lower half. Source: PTX ISA, "Matrix fragments for mma.m16n8k16" and "ldmatrix". Thread rule: all lanes of a warp call
// the functions of this file together.
#pragma once

#include "kernels/cuda/device_code.h"

#ifdef R1_CUDA_EMULATED
#include <cstring>
#endif

namespace r1::cuda {

// d[16, 8] += a[16, 16] b[16, 8], bf16 in, f32 sums.
// a: 0: (g, 2t), 1: (g + 8, 2t), 2: (g, 2t + 8), 3: (g + 8, 2t + 8).  b: 0: (2t, g), 1: (2t + 8, g).
// d: 0, 1: (g, 2t), (g, 2t + 1), 2, 3: (g + 8, ...).
__device__ inline void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#ifdef R1_CUDA_EMULATED
  const int l = emulator::lane(), g = l / 4, t = l % 4;
  const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
  static_assert(sizeof mine <= emulator::kSlotBytes);
  std::memcpy(emulator::warp_slot(l), mine, sizeof mine);
  emulator::warp_barrier();
  const auto half = [](int lane, int reg, int k) {
    uint32_t x;
    std::memcpy(&x, emulator::warp_slot(lane) + reg * sizeof x, sizeof x);
    return widen(static_cast<bf16>(x >> (k % 2 * 16)));
  };
  float sums[4];
  for (int i = 0; i < 4; ++i) {
    const int row = g + 8 * (i / 2), column = 2 * t + i % 2;
    float sum = d[i];
    for (int k = 0; k < 16; ++k)
      sum = std::fma(half(row % 8 * 4 + k % 8 / 2, (row >= 8) + 2 * (k >= 8), k), half(column * 4 + k % 8 / 2, 4 + (k >= 8), k),
                     sum);
    sums[i] = sum;
  }
  emulator::warp_barrier();
  for (int i = 0; i < 4; ++i) d[i] = sums[i];
#else
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// Four 8x8 matrices of bf16 from shared memory; lane l gives the address of row l % 8 of matrix l / 8, 16-byte aligned.
// r[i]: (g, 2t), (g, 2t + 1) of matrix i; transposed: (2t, g), (2t + 1, g).
template <bool kTransposed>
__device__ inline void load_matrices(uint32_t (&r)[4], const bf16* row) {
#ifdef R1_CUDA_EMULATED
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) emulator::stop("a row for ldmatrix is not 16-byte aligned");
  const int l = emulator::lane(), g = l / 4, t = l % 4;
  std::memcpy(emulator::warp_slot(l), row, 16);
  emulator::warp_barrier();
  for (int i = 0; i < 4; ++i) {
    const auto at = [&](int y, int x) {
      bf16 v;
      std::memcpy(&v, emulator::warp_slot(i * 8 + y) + x * sizeof v, sizeof v);
      return v;
    };
    const bf16 low = kTransposed ? at(2 * t, g) : at(g, 2 * t), high = kTransposed ? at(2 * t + 1, g) : at(g, 2 * t + 1);
    r[i] = low | static_cast<uint32_t>(high) << 16;
  }
  emulator::warp_barrier();
#else
  const uint32_t a = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(a)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(a)
                 : "memory");
#endif
}

// 16 bytes from global to shared memory, both aligned to 16; null: zeros. There after async_wait and a barrier.
__device__ inline void async_copy16(bf16* to, const bf16* from) {
#ifdef R1_CUDA_EMULATED
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % 16 != 0)
    emulator::stop("an asynchronous copy is not 16-byte aligned");
  emulator::async_copy({to, from, 16});
#else
  const uint32_t a = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(a), "l"(from), "r"(from != nullptr ? 16 : 0) : "memory");
#endif
}
__device__ inline void async_commit() {
#ifdef R1_CUDA_EMULATED
  emulator::async_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until at most kLeft committed groups of this thread are on their way.
template <int kLeft>
__device__ inline void async_wait() {
#ifdef R1_CUDA_EMULATED
  emulator::async_wait(kLeft);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
#endif
}

// Two values as a register, `low` in its lower half.
__device__ inline uint32_t pack(float low, float high) {
#ifdef R1_CUDA_EMULATED
  return narrow<bf16>(low) | static_cast<uint32_t>(narrow<bf16>(high)) << 16;
#else
  uint32_t both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
#endif
}

// ---- rows in shared memory

inline constexpr int kPad = 8;  // elements behind a row: its 16-byte parts then fall on all banks in turn

// The first n elements of rows row(0) to row(kRows - 1) (null: of none) to [kRows][kColumns + kPad], zeros behind them; by all
// threads of the block. There after async_wait and a barrier.
template <int kRows, int kColumns, int kThreads, class Row>
__device__ void load_rows(bf16* to, int64_t n, bool vectors, Row row) {
  for (int at = static_cast<int>(threadIdx.x); at < kRows * (kColumns / 8); at += kThreads) {
    const int r = at / (kColumns / 8), c = at % (kColumns / 8) * 8;
    const bf16* const from = row(r);
    const int64_t left = from != nullptr ? n - c : 0;
    bf16* const p = to + r * (kColumns + kPad) + c;
    if (left <= 0 || (vectors && left >= 8)) {
      async_copy16(p, left > 0 ? from + c : nullptr);
      continue;
    }
    for (int e = 0; e < 8; ++e) p[e] = e < left ? from[c + e] : bf16{0};
  }
}

}  // namespace r1::cuda
