// A device that times every op of another one. Not for numbers that are compared with a ceiling (those come from the plain
// device): it says where the time goes.
//
// Memory, copies and kernels are the inner device's. The time of an op is counted in core-nanoseconds: wall time times all
// cores for an op that may spread over them, times one inside a loop that is parallel already. So shares of cores * wall add
// up to one with what is not in ops.
// Thread rule: as Device.
#pragma once

#include <array>
#include <atomic>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/op_views.h"
#include "tools/bench/work.h"

namespace r1::bench {

struct OpTime {
  std::string op;
  int64_t calls = 0;
  double core_ns = 0;
  Work work;
};

class ProfilingDevice final : public Device {
 public:
  explicit ProfilingDevice(Device& inner);

  const std::string& name() const override { return inner_.name(); }
  const OpTable& ops() const override { return ops_; }
  std::byte* allocate(size_t bytes) override { return inner_.allocate(bytes); }
  void free(std::byte* p, size_t bytes) override { inner_.free(p, bytes); }
  void copy_from_host(std::byte* dst, const void* src, size_t bytes) override { inner_.copy_from_host(dst, src, bytes); }
  void copy_to_host(void* dst, const std::byte* src, size_t bytes) override { inner_.copy_to_host(dst, src, bytes); }
  void finish() override { inner_.finish(); }
  DeviceMemory memory() const override { return inner_.memory(); }
  bool has_fast_bf16() const override { return inner_.has_fast_bf16(); }
  bool concurrent_parts() const override { return inner_.concurrent_parts(); }
  bool cheap_row_parts(DType t) const override { return inner_.cheap_row_parts(t); }
  std::string fingerprint() const override { return inner_.fingerprint(); }

  void reset();
  // Ops that ran since, the longest first.
  std::vector<OpTime> times() const;
  int threads() const { return threads_; }

 private:
  static constexpr size_t kOps = std::variant_size_v<AnyOp>;
  struct Slot {
    std::atomic<int64_t> calls{0}, core_ns{0}, flops{0}, bytes{0};
    std::atomic<DType> type{DType::f32};
  };
  template <class Op, void (*OpTable::*kEntry)(Context&, const Op&)>
  static void timed(Context& ctx, const Op& op);

  Device& inner_;
  bool waits_;  // after each op, or its time would be the next one's
  int threads_;
  OpTable ops_;
  std::array<Slot, kOps> slots_;
};

}  // namespace r1::bench
