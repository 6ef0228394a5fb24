#include "kernels/cuda/emulator/runtime.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <vector>

using Work = std::function<void()>;

struct EmulatedStream {
  std::deque<Work> queue;
  uint64_t issued = 0, done = 0;
  EmulatedGraph* capture = nullptr;
};
struct EmulatedEvent {
  EmulatedStream* stream = nullptr;
  uint64_t at = 0;  // done when the stream has done so many
};
struct EmulatedGraph {
  std::vector<Work> work;
};

namespace {

constexpr int kPoison = 0xFF;

constexpr size_t kTotalBytes = size_t{512} << 20;

struct Card {
  std::recursive_mutex mutex;
  std::map<void*, size_t> allocations;
  size_t allocated = 0;
};
// Never destroyed: devices outlive static objects.
Card& card() {
  static Card* const c = new Card;
  return *c;
}

bool fault(std::string_view name) {
  const char* const f = std::getenv("R1_CUDA_EMULATED_FAULT");
  return f != nullptr && f == name;
}

// Counts the waits of the process.
bool lost() {
  const char* const f = std::getenv("R1_CUDA_EMULATED_FAULT");
  if (f == nullptr) return false;
  const std::string_view asked = f;
  if (asked == "lost") return true;
  static std::atomic<int64_t> waits{0};
  const int64_t wait = ++waits;
  static std::atomic<bool> gone{false};
  if (asked == "lost_from:" + std::to_string(wait)) gone = true;
  return gone || asked == "lost_once:" + std::to_string(wait);
}

void push(EmulatedStream& s, Work w) {
  if (s.capture != nullptr) {
    s.capture->work.push_back(std::move(w));
    return;
  }
  s.queue.push_back(std::move(w));
  ++s.issued;
}

void run_until(EmulatedStream& s, uint64_t at) {
  while (s.done < at) {
    const Work w = std::move(s.queue.front());
    s.queue.pop_front();
    w();
    ++s.done;
  }
}

using Lock = std::lock_guard<std::recursive_mutex>;

}  // namespace

const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
  }
  return "?";
}

cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* n) {
  *n = fault("no_driver") ? 0 : 2;
  return fault("no_driver") ? cudaErrorInsufficientDriver : cudaSuccess;
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {"emulated card", fault("older") ? 8 : 9, 0, 4};  // so many that small products take each of their tiles
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  const Lock lock(card().mutex);
  *total = kTotalBytes;
  *available = kTotalBytes - card().allocated;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** p, size_t bytes) {
  const Lock lock(card().mutex);
  if (bytes > kTotalBytes - card().allocated) return cudaErrorMemoryAllocation;
  if (posix_memalign(p, 256, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(*p, kPoison, bytes);
  card().allocations[*p] = bytes;
  card().allocated += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  const Lock lock(card().mutex);
  const auto it = card().allocations.find(p);
  if (it == card().allocations.end()) r1::cuda::emulator::stop("cudaFree of what is not allocated");
  card().allocated -= it->second;
  card().allocations.erase(it);
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  return posix_memalign(p, 256, bytes) == 0 ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void* p) {
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  *s = new EmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  const Lock lock(card().mutex);
  if (s->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  if (lost()) return cudaErrorLaunchFailure;
  run_until(*s, s->issued);
  return cudaSuccess;
}
// Nothing runs by itself, so who asks again and again would wait for ever.
cudaError_t cudaStreamQuery(cudaStream_t s) { return cudaStreamSynchronize(s); }
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t s) {
  const Lock lock(card().mutex);
  push(*s, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t s) {
  const Lock lock(card().mutex);
  push(*s, [=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  *e = new EmulatedEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete e;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  const Lock lock(card().mutex);
  // CUDA would make it a part of the graph, and waiting for it an error.
  if (s->capture != nullptr) r1::cuda::emulator::stop("an event in the middle of a recording");
  *e = {s, s->issued};
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  const Lock lock(card().mutex);
  return e->stream == nullptr || e->stream->done >= e->at ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  const Lock lock(card().mutex);
  if (lost()) return cudaErrorLaunchFailure;
  if (e->stream != nullptr) run_until(*e->stream, e->at);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  const Lock lock(card().mutex);
  s->capture = new EmulatedGraph;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph) {
  const Lock lock(card().mutex);
  *graph = s->capture;
  s->capture = nullptr;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) { return cudaSuccess; }
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* run, cudaGraph_t graph, unsigned long long) {
  *run = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t run, cudaStream_t s) {
  const Lock lock(card().mutex);
  for (const Work& w : run->work) push(*s, w);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t run) {
  delete run;
  return cudaSuccess;
}

namespace r1::cuda::emulator {

void issue(cudaStream_t s, const char* name, dim3 grid, dim3 block, size_t shared_bytes, std::function<void()> body) {
  const Lock lock(card().mutex);
  push(*s, [=, body = std::move(body)] { launch(name, grid, block, shared_bytes, body); });
}

}  // namespace r1::cuda::emulator
