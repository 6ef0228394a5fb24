// CUDA kernels on the host, for tests: every thread of a block is a fiber; barriers and warp operations are rendezvous.
//
// What it finds: wrong indices and strides, barriers that not all threads reach, warp operations with lanes missing, missing
// barriers (by schedules that no hardware promises not to take), shared memory that is read before it is written (it starts as
// NaN) or beyond its end (each piece is allocated to its size, so that AddressSanitizer sees it), launches that no card
// accepts. What it cannot: the memory model within a warp (fences), speed, contraction of a*b+c by nvcc, what the hardware
// rounds differently from the C library (exp, log).
//
// Blocks of a launch run one after the other. Thread rule: one launch at a time (emulator/runtime.cpp holds a lock).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace r1::cuda::emulator {

// How fibers take turns. fair: all in turn, in an order that changes from block to block. unfair: one warp at a time runs far
// ahead of the others. Asynchronous copies land when they are waited for (late) or at once (eager).
struct Schedule {
  bool unfair = false, eager = false;
};
// Of R1_CUDA_SCHEDULE: fair (also when it is not set), eager, unfair, both. Anything else ends the process.
Schedule schedule_from_environment();

// Runs `body` once for every thread. Ends the process with a message on what the hardware would refuse or never finish.
void launch(const char* name, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body);

// Where the running fiber stands.
struct Place {
  dim3 thread, block, block_dim, grid_dim;
};
const Place& place();
int lane();

void block_barrier();
void warp_barrier();
// 32 bytes a lane, for exchange between two warp barriers.
inline constexpr size_t kSlotBytes = 32;
std::byte* warp_slot(int lane);

void* dynamic_shared();
// Memory of the block for one declaration: the same for all its threads, 0xFF bytes at first.
void* static_shared(const void* declaration, size_t bytes, size_t alignment);

struct AsyncCopy {
  void* to;
  const void* from;  // null: zeros
  size_t bytes;
};
void async_copy(const AsyncCopy& copy);
void async_commit();
void async_wait(int left);

[[noreturn]] void stop(const char* what);

template <class T>
T exchange(T value, int from) {
  static_assert(sizeof(T) <= kSlotBytes);
  std::memcpy(warp_slot(lane()), &value, sizeof value);
  warp_barrier();
  T other;
  std::memcpy(&other, warp_slot(from & 31), sizeof other);
  warp_barrier();
  return other;
}

}  // namespace r1::cuda::emulator

#define threadIdx (::r1::cuda::emulator::place().thread)
#define blockIdx (::r1::cuda::emulator::place().block)
#define blockDim (::r1::cuda::emulator::place().block_dim)
#define gridDim (::r1::cuda::emulator::place().grid_dim)

// The part of CUDA's device functions that the kernels use; masks are always full.
inline void __syncthreads() { r1::cuda::emulator::block_barrier(); }
inline void __syncwarp() { r1::cuda::emulator::warp_barrier(); }
template <class T>
T __shfl_xor_sync(unsigned, T v, int mask) {
  return r1::cuda::emulator::exchange(v, r1::cuda::emulator::lane() ^ mask);
}
template <class T>
T __shfl_sync(unsigned, T v, int from) {
  return r1::cuda::emulator::exchange(v, from);
}
template <class T>
T __shfl_up_sync(unsigned, T v, int delta) {
  const int own = r1::cuda::emulator::lane();
  return r1::cuda::emulator::exchange(v, own < delta ? own : own - delta);
}
unsigned __ballot_sync(unsigned, bool p);
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32); }
inline float __uint_as_float(unsigned u) { return std::bit_cast<float>(u); }
inline unsigned __float_as_uint(float f) { return std::bit_cast<unsigned>(f); }
// Fibers do not run at the same time, and blocks one after the other.
template <class T>
T atomicAdd(T* p, T v) {
  const T old = *p;
  *p = old + v;
  return old;
}
template <class T>
T atomicMin(T* p, T v) {
  const T old = *p;
  if (v < old) *p = v;
  return old;
}
