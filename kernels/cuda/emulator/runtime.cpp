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
  int device = 0;
  std::deque<Work> queue;
  uint64_t issued = 0, done = 0;
  EmulatedGraph* capture = nullptr;
};
struct EmulatedEvent {
  int device = 0;
  EmulatedStream* stream = nullptr;
  uint64_t at = 0;  // done when the stream has done so many
};
struct EmulatedGraph {
  std::vector<Work> work;
  bool strict = false;  // its thread may not do meanwhile what is unsafe
  bool spoilt = false;
};

namespace {

constexpr int kPoison = 0xFF;

constexpr size_t kTotalBytes = size_t{512} << 20;  // of a card
constexpr int kCards = 2;

struct Allocation {
  int device;
  size_t bytes;
};
struct Cards {
  std::recursive_mutex mutex;
  std::map<void*, Allocation> allocations;
  size_t allocated[kCards] = {};
};
// Never destroyed: devices outlive static objects.
Cards& cards() {
  static Cards* const c = new Cards;
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

// Of the calling thread.
thread_local int t_device = 0;
thread_local cudaError_t t_last_error = cudaSuccess;
thread_local EmulatedGraph* t_capture = nullptr;  // that it began

cudaError_t returned(cudaError_t e) {
  if (e != cudaSuccess && e != cudaErrorNotReady) t_last_error = e;
  return e;
}
// Whether the thread may not do now what CUDA calls potentially unsafe during a capture: allocate, free, ask or wait for
// events.
bool unsafe_now() {
  if (t_capture == nullptr || !t_capture->strict) return false;
  t_capture->spoilt = true;
  return true;
}

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
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorIllegalState:
      return "the operation cannot be performed in the present state";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
  }
  return "?";
}

cudaError_t cudaGetLastError() {
  const cudaError_t e = t_last_error;
  t_last_error = cudaSuccess;
  return e;
}
cudaError_t cudaGetDeviceCount(int* n) {
  *n = fault("no_driver") ? 0 : kCards;
  return returned(fault("no_driver") ? cudaErrorInsufficientDriver : cudaSuccess);
}
cudaError_t cudaSetDevice(int index) {
  t_device = index;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {"emulated card", fault("older") ? 8 : 9, 0, 4};  // so many that small products take each of their tiles
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  const Lock lock(cards().mutex);
  *total = kTotalBytes;
  *available = kTotalBytes - cards().allocated[t_device];
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** p, size_t bytes) {
  const Lock lock(cards().mutex);
  if (unsafe_now()) return returned(cudaErrorStreamCaptureUnsupported);
  if (bytes > kTotalBytes - cards().allocated[t_device]) return returned(cudaErrorMemoryAllocation);
  if (posix_memalign(p, 256, bytes) != 0) return returned(cudaErrorMemoryAllocation);
  std::memset(*p, kPoison, bytes);
  cards().allocations[*p] = {t_device, bytes};
  cards().allocated[t_device] += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  const Lock lock(cards().mutex);
  if (unsafe_now()) return returned(cudaErrorStreamCaptureUnsupported);
  const auto it = cards().allocations.find(p);
  if (it == cards().allocations.end()) r1::cuda::emulator::stop("cudaFree of what is not allocated");
  cards().allocated[it->second.device] -= it->second.bytes;
  cards().allocations.erase(it);
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  if (unsafe_now()) return returned(cudaErrorStreamCaptureUnsupported);
  return returned(posix_memalign(p, 256, bytes) == 0 ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* p) {
  std::free(p);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  *s = new EmulatedStream;
  (*s)->device = t_device;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  const Lock lock(cards().mutex);
  if (s->capture != nullptr) {
    s->capture->spoilt = true;
    return returned(cudaErrorStreamCaptureUnsupported);
  }
  if (lost()) return returned(cudaErrorLaunchFailure);
  run_until(*s, s->issued);
  return cudaSuccess;
}
// Nothing runs by itself, so who asks again and again would wait for ever.
cudaError_t cudaStreamQuery(cudaStream_t s) { return cudaStreamSynchronize(s); }
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t s) {
  const Lock lock(cards().mutex);
  push(*s, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  *e = new EmulatedEvent;
  (*e)->device = t_device;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete e;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  const Lock lock(cards().mutex);
  // CUDA would make it a part of the graph, and waiting for it an error.
  if (s->capture != nullptr) r1::cuda::emulator::stop("an event in the middle of a recording");
  if (e->device != s->device) return returned(cudaErrorInvalidResourceHandle);
  e->stream = s, e->at = s->issued;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  const Lock lock(cards().mutex);
  if (unsafe_now()) return returned(cudaErrorStreamCaptureUnsupported);
  return e->stream == nullptr || e->stream->done >= e->at ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  const Lock lock(cards().mutex);
  if (unsafe_now()) return returned(cudaErrorStreamCaptureUnsupported);
  if (lost()) return returned(cudaErrorLaunchFailure);
  if (e->stream != nullptr) run_until(*e->stream, e->at);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode) {
  const Lock lock(cards().mutex);
  t_capture = s->capture = new EmulatedGraph;
  t_capture->strict = mode != cudaStreamCaptureModeRelaxed;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph) {
  const Lock lock(cards().mutex);
  *graph = nullptr;
  if (s->capture == nullptr) return returned(cudaErrorIllegalState);
  const bool spoilt = s->capture->spoilt;
  if (spoilt)
    delete s->capture;
  else
    *graph = s->capture;
  t_capture = s->capture = nullptr;
  return returned(spoilt ? cudaErrorStreamCaptureInvalidated : cudaSuccess);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* run, cudaGraph_t graph, unsigned long long) {
  *run = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t run, cudaStream_t s) {
  const Lock lock(cards().mutex);
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
  const Lock lock(cards().mutex);
  if (s->device != t_device) stop("a kernel for a stream of another card than the thread's");
  push(*s, [=, body = std::move(body)] { launch(name, grid, block, shared_bytes, body); });
}

}  // namespace r1::cuda::emulator
