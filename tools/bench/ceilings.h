// What this machine can do, measured in this process: the ceilings that timings stand beside.
//
// Of a card: large products of cuBLASLt, and copies (kernels/plugin.h); what was not measured is 0.
// Of the CPU: Matmul: oneDNN, square, one call a core on all cores at once; the best of several sizes and repetitions; beside
// it the hardware's own, by loops over registers (register_loops.h). Memory: reading an array far larger than the caches with
// all cores. Not the data sheet: what a program gets here and now. Other programs and the host's throttling move it, so a case
// is timed between two measurements and takes the better of both. Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/tensor.h"

namespace r1::bench {

// Whether a device is one of a plugin: its time is the card's, not that of the CPU's threads.
bool is_card(const Device& device);
// The cores whose time is counted: of a card one.
int counted_cores(const Device& device);

struct Ceilings {
  double bf16_flops = 0;  // per second, all cores; equal to f32_flops where there is no bf16 matmul
  double f32_flops = 0;
  double bf16_register_flops = 0, f32_register_flops = 0;  // the same by loops over registers; 0: not measured
  double read_bytes = 0;                                   // per second, all cores; of a card read and written

  double flops(DType t) const { return t == DType::bf16 ? bf16_flops : f32_flops; }
};
Ceilings best_of(const Ceilings& a, const Ceilings& b);

class CeilingMeter {
 public:
  // `quick`: small sizes, for tests of this program.
  explicit CeilingMeter(bool quick = false) : CeilingMeter(open_device("cpu"), quick) {}
  explicit CeilingMeter(Device& device, bool quick = false);
  Ceilings measure();
  // Why a ceiling is 0; "": none is.
  const std::string& why_missing() const { return why_missing_; }
  // Fills the caches with other data, as far as one pass over the big array does that. Done on return.
  void flush_caches();

 private:
  double matmul_flops(DType type);
  double read_bytes();

  Device& device_;
  bool card_;
  std::string why_missing_;
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
