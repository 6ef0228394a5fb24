// cuBLASLt, opened at run time (R1_CUBLASLT names the file): a ceiling and a comparison. Nothing of r1 computes with it. Thread
// rule: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/cuda/cuda_device.h"

namespace r1::cuda {

// "": it is there; else why not.
std::string cublas_lt_missing();

// y = x w^T by the kernel that cuBLASLt chooses.  x: [T, K], w: [N, K], y: [T, N], rows `*_stride` elements apart; all bf16, or
// all f32; f32 sums.
struct LibraryShape {
  int64_t t, n, k, x_stride, w_stride, y_stride;
  bool bf16;
};
class LibraryLinear {
 public:
  // Null where the library is not there or refuses the shape.
  static std::unique_ptr<LibraryLinear> make(CudaDevice& device, const LibraryShape& shape);
  virtual ~LibraryLinear() = default;
  // Queues it on the calling thread's stream; false: the library refuses.
  virtual bool run(const std::byte* x, const std::byte* w, std::byte* y) = 0;
};

}  // namespace r1::cuda
