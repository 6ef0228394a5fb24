// What one host thread has on a card: a stream, and a ring of pinned memory through which its copies go.
// Thread rule: one thread at a time.
#pragma once

#include <cstddef>

#include "kernels/cuda/runtime.h"

namespace r1::cuda {

class HostStream {
 public:
  HostStream();  // on the current device
  HostStream(const HostStream&) = delete;
  HostStream& operator=(const HostStream&) = delete;

  cudaStream_t stream() const { return stream_; }
  // Queued; `from` has been read on return.
  void upload(std::byte* to, const void* from, size_t bytes);
  // Done on return, and all that was issued before.
  void download(void* to, const std::byte* from, size_t bytes);
  void finish();

  // Set while a recording is made.
  bool recording = false;

 private:
  static constexpr int kParts = 4;
  static constexpr size_t kPartBytes = size_t{2} << 20;
  std::byte* next_part();  // free to be written

  cudaStream_t stream_ = nullptr;
  std::byte* ring_ = nullptr;
  cudaEvent_t events_[kParts] = {};  // of the last copy out of or into a part
  int part_ = 0;
  size_t used_ = 0;  // bytes of the current part
};

}  // namespace r1::cuda
