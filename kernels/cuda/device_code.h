// What the kernels of this folder are written with. It compiles as CUDA (nvcc) and as host code over the emulator (any C++
// compiler, R1_CUDA_EMULATED), so that index mistakes are found on machines without a card.
//
// Rules of the folder: -fmad=false, and fmaf where a kernel means it, so that the same source has the same bits wherever it is
// inlined; every sum in a fixed order; kernels take plain pointers and strides, never a View (its members are host functions).
// Thread rule: launch() as ops.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/runtime.h"
#include "kernels/ops.h"

#ifdef R1_CUDA_EMULATED
#define R1_UNROLL
// `name`: the block's variable of that type, uninitialised.
#define R1_SHARED(Type, name)               \
  static const char name##_declaration = 0; \
  Type& name = *static_cast<Type*>(::r1::cuda::emulator::static_shared(&name##_declaration, sizeof(Type), alignof(Type)))
#define R1_DYNAMIC_SHARED(Type, name) Type* const name = static_cast<Type*>(::r1::cuda::emulator::dynamic_shared())
#else
#define R1_UNROLL _Pragma("unroll")
#define R1_SHARED(Type, name) __shared__ Type name
#define R1_DYNAMIC_SHARED(Type, name)                                         \
  extern __shared__ __align__(128) unsigned char shared_bytes_of_the_block[]; \
  Type* const name = reinterpret_cast<Type*>(shared_bytes_of_the_block)
#endif

namespace r1::cuda {

using bf16 = uint16_t;  // its bits

cudaStream_t stream_of(Context& ctx);
int multiprocessors_of(Context& ctx);

// ---- numbers ---------------------------------------------------------------------------------------------------------------

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(bf16 x) { return __uint_as_float(static_cast<uint32_t>(x) << 16); }

// Rounds to nearest even; NaN stays quiet.
template <class E>
__device__ E narrow(float x);
template <>
__device__ inline float narrow<float>(float x) {
  return x;
}
template <>
__device__ inline bf16 narrow<bf16>(float x) {
  const uint32_t b = __float_as_uint(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) return static_cast<bf16>((b >> 16) | 0x40u);
  return static_cast<bf16>((b + 0x7fffu + ((b >> 16) & 1u)) >> 16);
}

__device__ inline float infinity() { return __uint_as_float(0x7f800000u); }

// 2^x, to about 2^-22 of it; below 2^-126 it is 0.
__device__ inline float power_of_2(float x) {
#ifdef R1_CUDA_EMULATED
  const float y = std::exp2(x);
  return y < FLT_MIN ? 0.0f : y;
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

// ---- sums of many threads, in a fixed tree: the same bits in every thread ---------------------------------------------------

template <class T>
__device__ inline T warp_sum(T v) {
  R1_UNROLL for (int x = 16; x > 0; x >>= 1) v += __shfl_xor_sync(~0u, v, x);
  return v;
}
// A NaN is lost.
__device__ inline float warp_max(float v) {
  R1_UNROLL for (int x = 16; x > 0; x >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, x));
  return v;
}
__device__ inline int warp_min(int v) {
  R1_UNROLL for (int x = 16; x > 0; x >>= 1) {
    const int o = __shfl_xor_sync(~0u, v, x);
    v = o < v ? o : v;
  }
  return v;
}
// Over a block of kThreads (whole warps): join(values of all threads), warp by warp in order. `shared`: one a block, for one
// kind of T at a time.
template <class T, int kThreads>
struct BlockShared {
  T value[kThreads / 32];
};
template <class T, int kThreads, class Join>
__device__ inline T block_join(T v, BlockShared<T, kThreads>& shared, Join join) {
  R1_UNROLL for (int x = 16; x > 0; x >>= 1) v = join(v, __shfl_xor_sync(~0u, v, x));
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared.value[threadIdx.x / 32] = v;
  __syncthreads();
  T r = shared.value[0];
  for (int w = 1; w < kThreads / 32; ++w) r = join(r, shared.value[w]);
  return r;
}
template <class T, int kThreads>
__device__ inline T block_sum(T v, BlockShared<T, kThreads>& shared) {
  return block_join(v, shared, [](T a, T b) { return a + b; });
}
// Joined values of the threads before this one (`first` for thread 0), and of all of them.
template <class T>
struct Scanned {
  T before, all;
};
template <class T, int kThreads, class Join>
__device__ inline Scanned<T> block_scan(T v, T first, BlockShared<T, kThreads>& shared, Join join) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  T up_to = v;
  R1_UNROLL for (int d = 1; d < 32; d <<= 1) {
    const T other = __shfl_up_sync(~0u, up_to, d);
    if (lane >= d) up_to = join(other, up_to);
  }
  T before = __shfl_up_sync(~0u, up_to, 1);
  if (lane == 0) before = first;
  __syncthreads();
  if (lane == 31) shared.value[warp] = up_to;
  __syncthreads();
  T base = first, all = first;
  for (int w = 0; w < kThreads / 32; ++w) {
    if (w == warp) base = all;
    all = join(all, shared.value[w]);
  }
  return {join(base, before), all};
}

// ---- where elements lie -----------------------------------------------------------------------------------------------------

// [T, H, D] with strided rows and heads, or [T, D] as H = 1.
template <class E>
struct Heads {
  E* p;
  int64_t row, head;
  __device__ E* at(int64_t t, int64_t h) const { return p + t * row + h * head; }
};
// [T, D], strided rows.
template <class E>
struct Rows {
  E* p;
  int64_t row;
  __device__ E* at(int64_t t) const { return p + t * row; }
};

template <class E>
E* data(const View& v) {
  return reinterpret_cast<E*>(v.data);  // null when absent
}
template <class E>
Heads<E> heads_of(const View& v) {
  return {data<E>(v), v.stride[0], v.rank == 3 ? v.stride[1] : 0};
}
inline int64_t head_count(const View& v) { return v.rank == 3 ? v.shape[1] : 1; }
template <class E>
Rows<E> rows_of(const View& v) {
  return {data<E>(v), v.stride[0]};
}

// Whether rows of a view may be taken by 16 bytes.
inline bool vectors(const View& v) {
  bool yes = reinterpret_cast<uintptr_t>(v.data) % 16 == 0;
  for (int i = 0; i + 1 < v.rank; ++i) yes = yes && v.stride[i] % 8 == 0;
  return yes;
}

// What a thread takes at once of a row: its sums have one order whether rows are aligned or not.
template <class E>
struct alignas(16) Eight {
  E e[8];
};
// The card's own fault for an address that is not aligned is the emulator's too.
template <class E>
__device__ bool whole_eight([[maybe_unused]] const E* p, int64_t left, bool vectors) {
#ifdef R1_CUDA_EMULATED
  if (vectors && reinterpret_cast<uintptr_t>(p) % 16 != 0) emulator::stop("eight elements are not 16-byte aligned");
#endif
  return vectors && left >= 8;
}
// p[0, left) and zeros behind.  vectors: p is aligned to 16 bytes.
template <class E>
__device__ Eight<E> load_eight(const E* p, int64_t left, bool vectors) {
  if (whole_eight(p, left, vectors)) return *reinterpret_cast<const Eight<E>*>(p);
  Eight<E> x;
  for (int e = 0; e < 8; ++e) x.e[e] = e < left ? p[e] : E{0};
  return x;
}
template <class E>
__device__ void store_eight(E* p, const Eight<E>& x, int64_t left, bool vectors) {
  if (whole_eight(p, left, vectors))
    *reinterpret_cast<Eight<E>*>(p) = x;
  else
    for (int e = 0; e < 8 && e < left; ++e) p[e] = x.e[e];
}

// ---- launches
// -----------------------------------------------------------------------------------------------------------------

// Calls f(float{}) or f(bf16{}).
template <class F>
void with_float(const View& v, F&& f) {
  v.dtype == DType::f32 ? f(float{}) : f(bf16{});
}

inline constexpr unsigned kBlock = 256;
// Enough blocks of `threads` for n items, one a thread.
inline unsigned blocks_for(int64_t n, int64_t threads = kBlock) { return static_cast<unsigned>((n + threads - 1) / threads); }
// The item of this thread.
__device__ inline int64_t global_index() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

// kernel<<<grid, threads, shared>>>(args...) on the context's stream; nothing where the grid is empty.
template <class... P, class... A>
void launch(Context& ctx, const char* name, void (*kernel)(P...), dim3 grid, unsigned threads, size_t shared,
            const A&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
#ifdef R1_CUDA_EMULATED
  emulator::issue(stream_of(ctx), name, grid, dim3(threads), shared, [=] { kernel(static_cast<P>(args)...); });
  check(cudaGetLastError(), name);
#else
  if (shared > 48 * 1024)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)),
          name);
  // clang-format off
  kernel<<<grid, threads, shared, stream_of(ctx)>>>(static_cast<P>(args)...);
  // clang-format on
  check(cudaGetLastError(), name);
#endif
}

// Scratch of an op: dies with it, in the order of the stream.
class Scratch {
 public:
  explicit Scratch(Context& ctx) : arena_(ctx.arena), mark_(ctx.arena.mark()) {}
  ~Scratch() { arena_.release(mark_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* floats(int64_t n) { return data<float>(arena_.alloc(DType::f32, {n})); }
  double* doubles(int64_t n) { return reinterpret_cast<double*>(arena_.alloc(DType::i64, {n}).data); }
  int32_t* ints(int64_t n) { return data<int32_t>(arena_.alloc(DType::i32, {n})); }
  int64_t* longs(int64_t n) { return data<int64_t>(arena_.alloc(DType::i64, {n})); }

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace r1::cuda
