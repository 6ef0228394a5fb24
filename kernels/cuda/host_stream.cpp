#include "kernels/cuda/host_stream.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace r1::cuda {

HostStream::HostStream() {
  void* ring = nullptr;
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  check(cudaHostAlloc(&ring, kParts * kPartBytes, cudaHostAllocDefault), "cudaHostAlloc", "raise the limit of locked memory");
  ring_ = static_cast<std::byte*>(ring);
  for (cudaEvent_t& e : events_) check(cudaEventCreateWithFlags(&e, cudaEventDisableTiming), "cudaEventCreate");
}

// The current part is marked with what was issued so far, the next one waited for.
std::byte* HostStream::next_part() {
  check(cudaEventRecord(events_[part_], stream_), "cudaEventRecord");
  part_ = (part_ + 1) % kParts;
  check(cudaEventSynchronize(events_[part_]), "an op or a copy");
  used_ = 0;
  return ring_ + static_cast<size_t>(part_) * kPartBytes;
}

void HostStream::upload(std::byte* to, const void* from, size_t bytes) {
  R1_CHECK(!recording, "an upload inside a recording");
  const auto* source = static_cast<const std::byte*>(from);
  while (bytes > 0) {
    if (used_ == kPartBytes) next_part();
    // Small copies go whole: a copy costs microseconds whatever its size.
    if (bytes < kPartBytes && bytes > kPartBytes - used_) next_part();
    const size_t n = std::min(bytes, kPartBytes - used_);
    std::byte* const staged = ring_ + static_cast<size_t>(part_) * kPartBytes + used_;
    std::memcpy(staged, source, n);
    check(cudaMemcpyAsync(to, staged, n, cudaMemcpyHostToDevice, stream_), "an upload");
    used_ += n;
    to += n;
    source += n;
    bytes -= n;
  }
}

void HostStream::download(void* to, const std::byte* from, size_t bytes) {
  R1_CHECK(!recording, "a download inside a recording");
  auto* target = static_cast<std::byte*>(to);
  // One part is copied out by the host while the next one comes in.
  std::byte* waiting = nullptr;
  size_t waiting_bytes = 0;
  int waiting_part = 0;
  const auto take = [&] {
    if (waiting == nullptr) return;
    check(cudaEventSynchronize(events_[waiting_part]), "an op or a copy");
    std::memcpy(target, waiting, waiting_bytes);
    target += waiting_bytes;
  };
  while (bytes > 0) {
    std::byte* const part = next_part();
    const size_t n = std::min(bytes, kPartBytes);
    check(cudaMemcpyAsync(part, from, n, cudaMemcpyDeviceToHost, stream_), "a download");
    check(cudaEventRecord(events_[part_], stream_), "cudaEventRecord");
    used_ = kPartBytes;
    take();
    waiting = part, waiting_bytes = n, waiting_part = part_;
    from += n;
    bytes -= n;
  }
  take();
  finish();
}

void HostStream::finish() { check(cudaStreamSynchronize(stream_), "an op or a copy"); }

}  // namespace r1::cuda
