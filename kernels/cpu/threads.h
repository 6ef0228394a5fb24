// Threads of the CPU backend: a fixed grid of tiles, spread over oneTBB's workers when that pays; and the meter of compute
// time.
//
// Not a scheduler: what a tile is must never depend on the number of threads, so that bits do not either; unless the bits do
// not depend on the tiles (kernels/cpu/linear.cpp, our own kernels).
// Thread rule: everything here may be called from any thread, also from inside a tile.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/device.h"

namespace r1::cpu {

// Work below this is done by the calling thread: waking a oneTBB worker costs several microseconds.
inline constexpr int64_t kParallelNs = 15'000;

// How many threads CPU work may use now.
int thread_limit();

using TileFunction = void (*)(void* body, int64_t tile);
void run_tiles(int64_t n, TileFunction call, void* body);

// Runs f(tile) for tile in [0,n). In parallel only if the context allows it and all tiles together take longer than
// kParallelNs.
template <class F>
void for_tiles(const Context& context, int64_t n, int64_t ns_per_tile, F&& f) {
  if (!context.parallel || n < 2 || n * ns_per_tile < kParallelNs || thread_limit() < 2) {
    for (int64_t i = 0; i < n; ++i) f(i);
    return;
  }
  auto call = [](void* body, int64_t i) { (*static_cast<std::remove_reference_t<F>*>(body))(i); };
  run_tiles(n, call, &f);
}

// As for_tiles over rows cut into tiles of `rows_per_tile`: f(begin, end).
template <class F>
void for_rows(const Context& context, int64_t rows, int64_t rows_per_tile, double ns_per_row, F&& f) {
  const int64_t n = (rows + rows_per_tile - 1) / rows_per_tile;
  for_tiles(context, n, static_cast<int64_t>(ns_per_row * static_cast<double>(rows_per_tile)), [&](int64_t i) {
    const int64_t begin = i * rows_per_tile;
    f(begin, begin + rows_per_tile < rows ? begin + rows_per_tile : rows);
  });
}

// Scratch of the calling thread: grows, is never shared, and is valid until the next call with the same slot on this thread.
// 64-byte aligned. Not to be held across for_tiles.
enum class ScratchSlot { a, b, sums, matmul, count };
std::byte* scratch_bytes(ScratchSlot slot, size_t bytes);
template <class T>
T* scratch(ScratchSlot slot, int64_t count) {
  return reinterpret_cast<T*>(scratch_bytes(slot, static_cast<size_t>(count) * sizeof(T)));
}

// Counts the calling thread's time while it computes. Nested scopes count once. Time between pause and resume is not counted.
class MeterScope {
 public:
  MeterScope();
  ~MeterScope();
  MeterScope(const MeterScope&) = delete;
  MeterScope& operator=(const MeterScope&) = delete;
};

}  // namespace r1::cpu
