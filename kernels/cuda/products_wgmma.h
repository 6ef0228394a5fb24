// Products of bf16 by wgmma and TMA (sm_90a), as a function: what products_wgmma.cu asks of CUTLASS (cutlass/, by nvcc), and of
// a plain stand-in under the emulator (emulator/wgmma_stand_in.cu).
//
// Every element of a result is one chain: k16 steps of wgmma into one f32 accumulator, in order of the summed index from 0, in
// stages of 64 whose rest is zeros. So tiles, one product or a list of them, and who stands beside a row are no part of its
// bits.
//
// Legend: a result is [M, N], the summed index runs over `depth`. An operand lies `along` (rows of its own index, depth is
// contiguous) or `across` (rows of depth). Thread rule: as ops.
#pragma once

#include "kernels/cuda/mma.h"
#include "kernels/ops.h"

namespace r1::cuda {

// How operands lie: Linear's a and b along, its input's gradient a along and b across, its weight's both across.
enum class Form { forward, backward_input, backward_weight };

// M x N of the tiles: a choice of speed alone. Of the forms, backward_input has wide and square ones, backward_weight square
// ones.
enum class Tile { wide, square, some, few };  // 128 x 256, 128 x 128, 64 x 64, 64 x 32

// What becomes of sums: f32 of backward_weight are added to what is there.
struct Target {
  int64_t row;       // elements from a row to the next
  const bf16* bias;  // of forward: [N], added to every row, or null
  bool f32;          // of forward: f32, not bf16
  bool add;          // of backward_input: added to the bf16 that are there
  bool pairs;        // two neighbours may be stored at once
};

// What the emulator calls a fault is one of the card's.
template <class T>
__device__ __forceinline__ T* aligned(void* p) {
#ifdef R1_CUDA_EMULATED
  if (reinterpret_cast<uintptr_t>(p) % sizeof(T) != 0) emulator::stop("a pair of results is not aligned");
#endif
  return static_cast<T*>(p);
}

// TMA's rules: operands begin at a multiple of 16 bytes, and so do their rows.
struct Product {
  Rows<const bf16> a, b;
  void* to;
  int64_t m, n, depth;  // all > 0
  Target target;
};

// Products of one form, on the device: as many as the list is long; those with m = 0 are none.
struct ProductList {
  int count;
  int32_t* shapes;  // [count, 3]: m, n, depth
  const bf16 **a, **b;
  int64_t *a_row, *b_row;
  void** to;
  Target target;
};

// Queues them. Those of a build without CUTLASS are never called.
void run_product(Context& ctx, Form form, Tile tile, const Product& product);
void run_products(Context& ctx, Form form, const ProductList& list);

// What is stored for a sum at to[at], column n.
template <Form kForm>
__device__ __forceinline__ float target_value(const Target& t, const void* to, int64_t at, int64_t n, float sum) {
  if constexpr (kForm == Form::forward) return t.bias != nullptr ? sum + widen(t.bias[n]) : sum;
  if constexpr (kForm == Form::backward_input) return t.add ? widen(static_cast<const bf16*>(to)[at]) + sum : sum;
  return static_cast<const float*>(to)[at] + sum;
}
struct alignas(8) Pair {
  float first, second;
};
// Takes the sums of row m at columns n (even, < n_end) and n + 1.
template <Form kForm>
__device__ __forceinline__ void store_sums(const Target& t, void* to, int64_t m, int64_t n, int64_t n_end, float first,
                                           float second) {
  const int64_t at = m * t.row + n;
  const bool both = n + 1 < n_end;
  first = target_value<kForm>(t, to, at, n, first);
  if (both) second = target_value<kForm>(t, to, at + 1, n + 1, second);
  if (kForm == Form::backward_weight || (kForm == Form::forward && t.f32)) {
    float* const p = static_cast<float*>(to) + at;
    if (both && t.pairs) {
      *aligned<Pair>(p) = {first, second};
    } else {
      p[0] = first;
      if (both) p[1] = second;
    }
  } else {
    bf16* const p = static_cast<bf16*>(to) + at;
    const uint32_t rounded = pack(first, second);
    if (both && t.pairs) {
      *aligned<uint32_t>(p) = rounded;
    } else {
      p[0] = static_cast<bf16>(rounded);
      if (both) p[1] = static_cast<bf16>(rounded >> 16);
    }
  }
}

}  // namespace r1::cuda
