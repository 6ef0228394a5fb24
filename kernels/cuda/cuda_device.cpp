#include "kernels/cuda/cuda_device.h"

#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "kernels/cuda/cudnn_attention.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

double mebibytes(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

// The calling thread's streams, by device. At the thread's end they go back.
struct ThreadStreams {
  std::vector<std::pair<CudaDevice*, std::unique_ptr<HostStream>>> streams;
  ~ThreadStreams() {
    for (auto& [device, stream] : streams) device->give_stream_back(std::move(stream));
  }
};
thread_local ThreadStreams t_streams;
thread_local int t_current = -1;  // the device that CUDA takes for this thread's calls

class CudaRecording final : public Recording {
 public:
  CudaRecording(CudaDevice& device, cudaGraphExec_t graph) : device_(device), graph_(graph) {}
  ~CudaRecording() override { static_cast<void>(cudaGraphExecDestroy(graph_)); }
  CudaRecording(const CudaRecording&) = delete;
  CudaRecording& operator=(const CudaRecording&) = delete;
  void run() override { check(cudaGraphLaunch(graph_, device_.stream().stream()), "cudaGraphLaunch"); }

 private:
  CudaDevice& device_;
  cudaGraphExec_t graph_;
};

}  // namespace

void check(cudaError_t e, const char* what, const char* hint) {
  if (e == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  throw failure(fmt::format("the GPU failed at {}: {}", what, cudaGetErrorString(e)), {}, hint);
}

int device_count() {
  int n = 0;
  const cudaError_t e = cudaGetDeviceCount(&n);
  if (e == cudaErrorNoDevice) {
    static_cast<void>(cudaGetLastError());
    return 0;
  }
  check(e, "cudaGetDeviceCount");
  return n;
}

CudaDevice::CudaDevice(int index) : index_(index), name_(fmt::format("gpu:{}", index)) {
  // A wish that cannot be met is said whatever the machine has.
  const Products kind = products();
  const bool cudnn = attention_backward() == AttentionBackward::cudnn;
  int n = 0;
  if (const cudaError_t e = cudaGetDeviceCount(&n); e != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    throw bad_input(fmt::format("device '{}' cannot be used: {}", name_, cudaGetErrorString(e)), {},
                    "install or update NVIDIA's driver (nvidia-smi must work), or use on=\"cpu\"");
  }
  if (index < 0 || index >= n)
    throw bad_input(fmt::format("there is no device '{}': this machine has {} GPU{}", name_, n, n == 1 ? "" : "s"), {},
                    n > 0 ? fmt::format("gpu:0 to gpu:{}", n - 1) : "use on=\"cpu\"");
  set_current();
  cudaDeviceProp p{};
  int runtime = 0;
  check(cudaGetDeviceProperties(&p, index), "cudaGetDeviceProperties");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  const auto for_sm_90 = [&](bool wanted, const char* what, const char* hint) {
    if (wanted && (p.major != 9 || p.minor != 0))
      throw bad_input(
          fmt::format("{}, which is for sm_90 (H100, H200), and '{}' is sm_{}{} ({})", what, name_, p.major, p.minor, p.name),
          {}, hint);
  };
  for_sm_90(kind == Products::cutlass, "R1_CUDA_PRODUCTS is 'cutlass'", "mma or plain");
  for_sm_90(cudnn, "R1_CUDA_ATTENTION_BACKWARD is 'cudnn'", "own");
  multiprocessors_ = p.multiProcessorCount;
  fingerprint_ = fmt::format("cuda {} sm_{}{}, {} multiprocessors, runtime {}, {} products", p.name, p.major, p.minor,
                             p.multiProcessorCount, runtime, name_of(kind));
  if (cudnn) fingerprint_ += ", attention's backward by cuDNN " + cudnn_version();
}

cudaError_t CudaDevice::try_current() const {
  const cudaError_t e = t_current == index_ ? cudaSuccess : cudaSetDevice(index_);
  if (e == cudaSuccess) t_current = index_;
  return e;
}
void CudaDevice::set_current() const { check(try_current(), "cudaSetDevice"); }

const OpTable& CudaDevice::ops() const { return op_table(); }

HostStream& CudaDevice::stream() {
  set_current();
  for (auto& [device, stream] : t_streams.streams)
    if (device == this) return *stream;
  std::unique_ptr<HostStream> s;
  {
    const std::lock_guard lock(mutex_);
    if (!idle_streams_.empty()) {
      s = std::move(idle_streams_.back());
      idle_streams_.pop_back();
    }
  }
  if (s == nullptr) {
    s = std::make_unique<HostStream>();
    const std::lock_guard lock(mutex_);
    streams_.push_back(s.get());
  }
  t_streams.streams.emplace_back(this, std::move(s));
  return *t_streams.streams.back().second;
}

// Its queue stays in order: who takes it over comes after what its last thread left there.
void CudaDevice::give_stream_back(std::unique_ptr<HostStream> s) {
  const std::lock_guard lock(mutex_);
  idle_streams_.push_back(std::move(s));
}

std::vector<cudaStream_t> CudaDevice::all_streams() {
  std::vector<cudaStream_t> all;
  for (const HostStream* s : streams_) all.push_back(s->stream());
  return all;
}

std::byte* CudaDevice::allocate(size_t bytes) {
  set_current();
  if (std::byte* const p = pool_.allocate(bytes)) return p;
  const DeviceMemory m = memory();
  throw failure(
      fmt::format("no memory for {:.1f} MiB on device {} ({:.1f} of {:.1f} MiB are available)", mebibytes(bytes), name_,
                  mebibytes(m.available), mebibytes(m.total)),
      {},
      "use a smaller model, batch or cache, of a trainer recompute=true or a lower micro_batch_tokens, fewer actors on this "
      "card, or another card");
}

void CudaDevice::free(std::byte* p, size_t) {
  static_cast<void>(try_current());  // events are of the thread's card; where there is none left, none is waited for
  // An event in the middle of a recording would become a part of it.
  const std::lock_guard lock(mutex_);
  const std::vector<cudaStream_t> streams = all_streams();
  pool_.give_back(p, recordings_ > 0 ? nullptr : &streams);
}

DeviceMemory CudaDevice::memory() const {
  set_current();
  DeviceMemory m;
  check(cudaMemGetInfo(&m.available, &m.total), "cudaMemGetInfo");
  m.available += pool_.idle_bytes();
  return m;
}

void CudaDevice::copy_from_host(std::byte* dst, const void* src, size_t bytes) { stream().upload(dst, src, bytes); }
void CudaDevice::copy_to_host(void* dst, const std::byte* src, size_t bytes) { stream().download(dst, src, bytes); }
void CudaDevice::finish() { stream().finish(); }

std::unique_ptr<Recording> CudaDevice::record(Context&, const std::function<void()>& issue) {
  HostStream& s = stream();
  R1_CHECK(!s.recording, "a recording inside a recording");
  const auto begin_or_end = [&](int step) {
    const std::lock_guard lock(mutex_);
    s.recording = step > 0;
    recordings_ += step;
    if (recordings_ == 0) pool_.give_back_deferred(all_streams());
  };
  begin_or_end(1);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t run = nullptr;
  try {
    // Relaxed: meanwhile the pool may allocate and ask after events, in this thread too, and a kernel may be loaded.
    check(cudaStreamBeginCapture(s.stream(), cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
    issue();
    check(cudaStreamEndCapture(s.stream(), &graph), "cudaStreamEndCapture");
  } catch (...) {
    static_cast<void>(cudaStreamEndCapture(s.stream(), &graph));
    if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
    static_cast<void>(cudaGetLastError());  // or the next launch would be blamed for it
    begin_or_end(-1);
    throw;
  }
  begin_or_end(-1);
  const cudaError_t e = cudaGraphInstantiate(&run, graph, 0);
  static_cast<void>(cudaGraphDestroy(graph));
  check(e, "cudaGraphInstantiate");
  auto recording = std::make_unique<CudaRecording>(*this, run);
  recording->run();
  return recording;
}

int multiprocessors_of(Context& ctx) { return static_cast<CudaDevice&>(*ctx.device).multiprocessors(); }
cudaStream_t stream_of(Context& ctx) { return static_cast<CudaDevice&>(*ctx.device).stream().stream(); }

}  // namespace r1::cuda
