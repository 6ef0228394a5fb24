// A card as a Device: "gpu:N". The same code drives the emulated card of the tests (emulator/runtime.h).
//
// One stream per host thread: what a thread issues is in order, threads among themselves are not (kernels/device.h says the
// rest). A thread that ends leaves its stream to the next one. Thread rule: as Device.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/cuda/host_stream.h"
#include "kernels/cuda/memory_pool.h"
#include "kernels/device.h"
#include "kernels/ops.h"
#include "kernels/plugin.h"

namespace r1::cuda {

class CudaDevice final : public Device {
 public:
  // Throws bad_input when there is no such card or no driver for it.
  explicit CudaDevice(int index);

  const std::string& name() const override { return name_; }
  const OpTable& ops() const override;
  std::byte* allocate(size_t bytes) override;
  void free(std::byte* p, size_t bytes) override;
  DeviceMemory memory() const override;
  void copy_from_host(std::byte* dst, const void* src, size_t bytes) override;
  void copy_to_host(void* dst, const std::byte* src, size_t bytes) override;
  void finish() override;
  // Runs `issue` under a capture, then once.
  std::unique_ptr<Recording> record(Context& ctx, const std::function<void()>& issue) override;
  bool recordings_pay() const override { return true; }
  bool has_fast_bf16() const override { return true; }
  std::string fingerprint() const override { return fingerprint_; }

  int multiprocessors() const { return multiprocessors_; }
  // The calling thread's.
  HostStream& stream();
  void give_stream_back(std::unique_ptr<HostStream> s);

 private:
  cudaError_t try_current() const;
  void set_current() const;
  std::vector<cudaStream_t> all_streams();  // with the mutex

  int index_, multiprocessors_ = 0;
  std::string name_, fingerprint_;
  mutable MemoryPool pool_;
  std::mutex mutex_;
  std::vector<HostStream*> streams_;  // all, in use or not
  std::vector<std::unique_ptr<HostStream>> idle_streams_;
  int recordings_ = 0;  // that are being made
};

// Throws failure, in the driver's words, where it cannot be asked.
int device_count();

CardCeilings measure_ceilings(CudaDevice& device);

// As library_linear() of kernels/plugin.h.
std::unique_ptr<Recording> library_linear(CudaDevice& device, const Linear& op);

// The stream on which an op of this context goes.
cudaStream_t stream_of(Context& ctx);

}  // namespace r1::cuda
