#include "kernels/cuda/memory_pool.h"

#include "base/error.h"

namespace r1::cuda {
namespace {

// Sizes are rounded so that blocks fit more than one use; in the emulated build hardly, so that AddressSanitizer sees their
// end.
constexpr size_t kSmall = kEmulated ? 64 : 512, kLarge = kEmulated ? 64 : size_t{2} << 20, kLargeFrom = size_t{1} << 20;
// A block is not given to who needs less than this part of it.
constexpr size_t kWaste = 4;  // 1/4 of the block may be left over

size_t rounded(size_t bytes) {
  const size_t unit = bytes >= kLargeFrom ? kLarge : kSmall;
  return bytes == 0 ? unit : (bytes + unit - 1) / unit * unit;
}

}  // namespace

std::byte* MemoryPool::take(size_t bytes) {
  const auto it = ready_.lower_bound(bytes);
  if (it == ready_.end() || it->first - bytes > it->first / kWaste) return nullptr;
  std::byte* const p = it->second;
  used_[p] = it->first;
  ready_.erase(it);
  return p;
}

std::byte* MemoryPool::allocate(size_t bytes) {
  if (bytes > SIZE_MAX / 2) return nullptr;
  const size_t size = rounded(bytes);
  const std::lock_guard lock(mutex_);
  collect(false);
  if (std::byte* const p = take(size)) return p;
  void* p = nullptr;
  cudaError_t e = cudaMalloc(&p, size);
  if (e == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    collect(true);
    if (std::byte* const q = take(size)) return q;
    if (trim()) e = cudaMalloc(&p, size);
    static_cast<void>(cudaGetLastError());
  }
  if (e == cudaErrorMemoryAllocation) return nullptr;
  check(e, "cudaMalloc");
  used_[static_cast<std::byte*>(p)] = size;
  return static_cast<std::byte*>(p);
}

void MemoryPool::mark(Pending& p, const std::vector<cudaStream_t>& streams) {
  for (cudaStream_t s : streams) {
    cudaEvent_t e = nullptr;
    if (spare_events_.empty()) {
      if (cudaEventCreateWithFlags(&e, cudaEventDisableTiming) != cudaSuccess) continue;
    } else {
      e = spare_events_.back();
      spare_events_.pop_back();
    }
    // A card that is lost records nothing; nothing is left to wait for then.
    if (cudaEventRecord(e, s) == cudaSuccess)
      p.events.push_back(e);
    else
      spare_events_.push_back(e);
  }
}

void MemoryPool::give_back(std::byte* p, const std::vector<cudaStream_t>* streams) {
  const std::lock_guard lock(mutex_);
  const auto it = used_.find(p);
  R1_CHECK(it != used_.end(), "memory that is not the card's, or was given back twice");
  Pending gone{p, it->second, {}};
  used_.erase(it);
  if (streams == nullptr) {
    deferred_.push_back(std::move(gone));
    return;
  }
  mark(gone, *streams);
  pending_.push_back(std::move(gone));
}

void MemoryPool::give_back_deferred(const std::vector<cudaStream_t>& streams) {
  const std::lock_guard lock(mutex_);
  for (Pending& p : deferred_) {
    mark(p, streams);
    pending_.push_back(std::move(p));
  }
  deferred_.clear();
}

void MemoryPool::collect(bool wait) {
  std::vector<Pending> left;
  for (Pending& p : pending_) {
    bool done = true;
    for (cudaEvent_t e : p.events) done = done && (wait ? cudaEventSynchronize(e) : cudaEventQuery(e)) != cudaErrorNotReady;
    if (!done) {
      static_cast<void>(cudaGetLastError());  // the guide says that "not ready" does not stay behind; PyTorch clears it
      left.push_back(std::move(p));
      continue;
    }
    spare_events_.insert(spare_events_.end(), p.events.begin(), p.events.end());
    ready_.emplace(p.bytes, p.p);
  }
  pending_ = std::move(left);
}

bool MemoryPool::trim() {
  if (ready_.empty()) return false;
  for (const auto& [bytes, p] : ready_) static_cast<void>(cudaFree(p));
  ready_.clear();
  return true;
}

size_t MemoryPool::idle_bytes() {
  const std::lock_guard lock(mutex_);
  size_t sum = 0;
  for (const auto& [bytes, p] : ready_) sum += bytes;
  for (const Pending& p : pending_) sum += p.bytes;
  return sum;
}

}  // namespace r1::cuda
