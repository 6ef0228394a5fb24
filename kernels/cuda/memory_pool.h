// Memory of one card, kept for the next who asks: cudaMalloc and cudaFree stop the whole card, so no step may call them.
//
// What is given back is handed out again only when all work has ended that any thread had issued by then, so that whoever gets
// it may use it at once on any stream. Thread rule: thread-safe.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <vector>

#include "kernels/cuda/runtime.h"

namespace r1::cuda {

class MemoryPool {
 public:
  // Null when the card has no memory left, the pool's own included.
  std::byte* allocate(size_t bytes);
  // After what `streams` hold now. Null streams: in the middle of a recording; the memory waits for give_back_deferred().
  void give_back(std::byte* p, const std::vector<cudaStream_t>* streams);
  void give_back_deferred(const std::vector<cudaStream_t>& streams);
  // Bytes that lie ready or will when queued work ends.
  size_t idle_bytes();

 private:
  struct Pending {
    std::byte* p;
    size_t bytes;
    std::vector<cudaEvent_t> events;
  };
  void mark(Pending& p, const std::vector<cudaStream_t>& streams);  // these with the mutex
  void collect(bool wait);
  std::byte* take(size_t bytes);
  bool trim();

  std::mutex mutex_;
  std::map<std::byte*, size_t> used_;
  std::multimap<size_t, std::byte*> ready_;
  std::vector<Pending> pending_, deferred_;
  std::vector<cudaEvent_t> spare_events_;
};

}  // namespace r1::cuda
