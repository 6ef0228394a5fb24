// What this machine can do, measured in this process: the ceilings that timings stand beside.
//
// Matmul: oneDNN, square, one call a core on all cores at once; the best of several sizes and repetitions. Memory: reading an
// array far larger than the caches with all cores. Not the data sheet: what a program gets here and now. Other programs and
// the host's throttling move it, so a case is timed between two measurements and takes the better of both.
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/tensor.h"

namespace r1::bench {

struct Ceilings {
  double bf16_flops = 0;  // per second, all cores; equal to f32_flops where there is no bf16 matmul
  double f32_flops = 0;
  double read_bytes = 0;  // per second, all cores

  double flops(DType t) const { return t == DType::bf16 ? bf16_flops : f32_flops; }
};
Ceilings best_of(const Ceilings& a, const Ceilings& b);

class CeilingMeter {
 public:
  // `quick`: small sizes, for tests of this program.
  explicit CeilingMeter(bool quick = false);
  Ceilings measure();
  // Fills the caches with other data, as far as one pass over the big array does that.
  void flush_caches();

 private:
  double matmul_flops(DType type);
  double read_bytes();

  int64_t threads_;
  std::vector<int32_t> sizes_;
  // In the memory that models are in, so that its pages are as large.
  Tensor big_;  // i64, larger than the caches
  std::vector<uint64_t> sums_;
  std::vector<Tensor> a_, b_, c_;  // f32, one per thread
};

// Wall time of f(), ns.
template <class F>
double time_ns(F&& f);
int64_t monotonic_ns();

template <class F>
double time_ns(F&& f) {
  const int64_t begin = monotonic_ns();
  f();
  return static_cast<double>(monotonic_ns() - begin);
}

}  // namespace r1::bench
