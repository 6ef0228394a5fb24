// A device that works beside the host and whose memory the host cannot read: what a GPU is, on machines without one.
//
// Every address it hands out traps when dereferenced, so code that touches View::data outside kernels/ crashes here. Ops and
// uploads queue, one queue a host thread, and run as late as the contract of kernels/device.h allows: when their thread waits
// (finish, copy_to_host). Its kernels are those of an inner host device, called with the true addresses and a context of the
// inner device. A CHECK fails when
//   - a thread touches memory that another one has written, or writes what another one reads, and has not finished;
//   - an op or a copy touches memory that was freed, or more than was allocated;
//   - an op gets an address of the host's.
// KV pages are the exception to the first: sequences of several threads own different slots of a page pool.
// Fresh memory and freed memory hold 0xFF bytes (NaN).
//
// Thread rule: as Device.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/ops.h"

namespace r1 {

class FakeDevice final : public Device {
 public:
  explicit FakeDevice(Device& inner);

  const std::string& name() const override { return name_; }
  const OpTable& ops() const override { return ops_; }
  std::byte* allocate(size_t bytes) override;
  void free(std::byte* p, size_t bytes) override;
  DeviceMemory memory() const override { return inner_.memory(); }
  void copy_from_host(std::byte* dst, const void* src, size_t bytes) override;
  void copy_to_host(void* dst, const std::byte* src, size_t bytes) override;
  void finish() override;
  std::unique_ptr<Recording> record(Context& ctx, const std::function<void()>& issue) override;
  bool recordings_pay() const override { return true; }
  bool has_fast_bf16() const override { return inner_.has_fast_bf16(); }
  bool concurrent_parts() const override { return inner_.concurrent_parts(); }
  bool cheap_row_parts(DType t) const override { return inner_.cheap_row_parts(t); }
  std::string fingerprint() const override { return "fake over " + inner_.fingerprint(); }
  Device& inner() const { return inner_; }

  // Ops and copies of the calling thread that have not run yet.
  int64_t queued();

 private:
  friend class FakeRecording;
  // Bytes that an item reads or writes, as true addresses.
  struct Range {
    uintptr_t begin, end;
    bool write, pages;
  };
  // Something queued.
  struct Item {
    const char* name;
    std::vector<Range> ranges;
    std::function<void()> run;
    size_t staged_bytes = 0;  // held for it
  };
  // What one host thread has issued.
  struct Stream {
    std::deque<Item> items;
    size_t staged_bytes = 0;
    std::vector<Item>* recording = nullptr;  // a copy of what is issued goes there
  };
  struct Allocation {
    std::byte* data;
    size_t bytes;                       // as the owner asked
    uintptr_t end;                      // at least one byte
    bool freed = false;                 // given back as soon as nothing queued uses it
    std::map<uint64_t, int64_t> users;  // stream -> items queued there that touch it
  };

  template <class Op, void (*OpTable::*kEntry)(Context&, const Op&)>
  static void queue_op(Context& ctx, const Op& op);
  template <class Op>
  static std::vector<Range> ranges_of(const Op& op);
  void issue(Item item);
  void run_queue();
  void check_order(uint64_t stream, const char* name, const std::vector<Range>& ranges);  // with the mutex
  Allocation& allocation_of(const Range& r, const char* name);                            // with the mutex
  void give_back(Allocation a);
  // A context of the inner device, on loan to one thread: contexts keep their arena's memory between ops.
  std::unique_ptr<Context> borrow_context();
  void return_context(std::unique_ptr<Context> ctx);

  std::string name_ = "fake";
  Device& inner_;
  OpTable ops_;
  std::mutex mutex_;
  std::map<uint64_t, Stream> streams_;           // by number of the thread
  std::map<uintptr_t, Allocation> allocations_;  // by true address
  std::vector<std::unique_ptr<Context>> idle_contexts_;
};

}  // namespace r1
