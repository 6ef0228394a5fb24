// Devices: where tensors live and ops run; and the Context that an op runs in.
//
// A Device is created once per process and place (open_device("cpu")) and outlives every tensor on it.
//
// Order. Ops and copies take effect in the order in which one host thread issues them, perhaps long after the call has
// returned. Threads among themselves have no order: what another thread is to read or to overwrite must be finished first
// (Device::finish), whatever lock or message tells the other thread about it.
// Thread rule: Device is thread-safe. A Context (with its arena) belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/tensor.h"

namespace r1 {

struct OpTable;  // kernels/ops.h
struct Context;

// Ops that a device can issue again without the host's work for each (Device::record).
class Recording {
 public:
  virtual ~Recording() = default;
  // Issues them on the calling thread: the same addresses, whatever they hold now.
  virtual void run() = 0;
};

struct DeviceMemory {
  size_t total = 0, available = 0;  // bytes
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const std::string& name() const = 0;  // "cpu", "reference", "fake", "gpu:0"
  virtual const OpTable& ops() const = 0;

  // 64-byte aligned. Throws r1::Error (failure) when there is no memory left.
  virtual std::byte* allocate(size_t bytes) = 0;
  // After all that any thread has issued: memory that queued work still uses may be freed.
  virtual void free(std::byte* p, size_t bytes) = 0;
  virtual DeviceMemory memory() const = 0;

  // Copies of contiguous bytes, in order with the thread's ops. `src` may be changed as soon as the call returns.
  virtual void copy_from_host(std::byte* dst, const void* src, size_t bytes) = 0;
  // Complete on return, and with it all that the calling thread issued before.
  virtual void copy_to_host(void* dst, const std::byte* src, size_t bytes) = 0;
  // Returns when all that the calling thread has issued is done. Errors of queued ops are thrown here or by a copy.
  virtual void finish() {}

  // Runs `issue`, which issues ops on `ctx` only (no copies, no allocation of new arena blocks), and returns what issues the
  // same ops again; null on a device that does not record (`issue` was run all the same). The memory must outlive it.
  virtual std::unique_ptr<Recording> record(Context& ctx, const std::function<void()>& issue);

  // Whether issuing ops costs enough here that steps which come again and again should be recorded.
  virtual bool recordings_pay() const { return false; }

  // True when bf16 matmuls take no longer than f32 ones here (precision=auto picks bf16 only then).
  virtual bool has_fast_bf16() const = 0;
  // Whether ops of several contexts may write different parts of one tensor at the same time, on several threads.
  virtual bool concurrent_parts() const { return false; }
  // Whether a Linear of few rows costs in several parts of its rows about what it costs in one. Not so where every call first
  // brings the weights into another order.
  virtual bool cheap_row_parts(DType) const { return false; }
  // What the numeric fingerprint of a run must name: instruction set, library versions.
  virtual std::string fingerprint() const = 0;
};

// Bump allocator for the activations of one step. Blocks are kept and reused after reset(); views die at reset().
class Arena {
 public:
  explicit Arena(Device& device) : device_(&device) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  View alloc(DType dtype, std::initializer_list<int64_t> shape);
  View alloc(DType dtype, const int64_t* shape, int rank);

  struct Mark {
    size_t block = 0, used = 0;
  };
  Mark mark() const { return {block_, used_}; }
  void release(Mark m) { block_ = m.block, used_ = m.used; }  // everything allocated after the mark dies
  void reset() { release({}); }
  size_t high_water_bytes() const { return high_water_; }
  Device& device() const { return *device_; }

 private:
  struct Block {
    std::byte* data;
    size_t bytes;
  };
  Device* device_;
  std::vector<Block> blocks_;
  size_t block_ = 0, used_ = 0, high_water_ = 0;
};

// What every op takes first. Ops may use `arena` for scratch and release it before they return.
// `parallel`: whether an op may spread over the device's threads (false inside an already parallel loop over micro-batches:
// the bits are the same either way, because work is cut on a fixed grid).
struct Context {
  explicit Context(Device& d) : device(&d), arena(d) {}
  Device* device;
  Arena arena;
  bool parallel = true;
};

// The bytes of a contiguous view, to and from the host. Sizes are checked.
void upload(const View& dst, const void* src, size_t bytes);
void download(const View& src, void* dst, size_t bytes);
template <class T>
void upload(const View& dst, const std::vector<T>& src) {
  upload(dst, src.data(), src.size() * sizeof(T));
}
template <class T>
std::vector<T> download_as(const View& src) {
  std::vector<T> v(static_cast<size_t>(src.size()));
  download(src, v.data(), v.size() * sizeof(T));
  return v;
}
Tensor tensor_from(Device& device, DType dtype, std::initializer_list<int64_t> shape, const void* host_data);

// Known: "cpu", "reference" (slow, plain loops, f64 accumulation), "fake" (the CPU's kernels behind addresses that trap, run
// only when they are waited for).
// "gpu:N" needs the CUDA plugin (kernels/plugin.h); "gpu" is "gpu:0". Unknown names throw bad_input with a suggestion. The same name gives the same device, which
// lives until the process ends.
Device& open_device(const std::string& name);

// Limits CPU ops of *all* threads to `threads` (tests of thread-count independence). 0: all cores.
void set_cpu_threads(int threads);
// How many threads CPU ops may use now.
int cpu_threads();
// Runs f(i) for i in [0,n), perhaps on several threads of the CPU's pool; returns when all are done. Exceptions propagate.
// The caller guarantees that tasks are independent; which thread runs which task is not defined.
void parallel_tasks(int64_t n, const std::function<void(int64_t)>& f);
// As parallel_tasks, for bodies that issue ops on `device`: what the caller has issued is done before the first task begins,
// and what the tasks have issued when the call returns.
void device_tasks(Device& device, int64_t n, const std::function<void(int64_t)>& f);
// CPU time spent inside ops and parallel_tasks by all threads since the process started, ns (idle and spinning excluded).
int64_t compute_cpu_ns();

}  // namespace r1
