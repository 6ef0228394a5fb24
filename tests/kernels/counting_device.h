// A device that counts what it is asked for: ops by name, uploads, downloads, allocations. What a budget of launches and copies
// is tested with.
//
// Memory, copies and kernels are the inner device's; only whether several threads may work on parts of one tensor can be said
// anew, so that a test sees what a device that takes one op after the other would see. Not a clock
// (tools/bench/profiling_device.h). Thread rule: as Device.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <string>

#include "kernels/device.h"
#include "kernels/op_views.h"

namespace r1::test {

struct DeviceCounts {
  int64_t ops = 0, uploads = 0, downloads = 0, uploaded_bytes = 0, downloaded_bytes = 0, allocations = 0;
  std::map<std::string, int64_t> by_op;  // without those never called
  int64_t longest = 0;                   // the sum of AttentionPackedBackward::longest over its calls
  int64_t copies() const { return uploads + downloads; }
  int64_t of(const std::string& op) const { return by_op.count(op) ? by_op.at(op) : 0; }
};

class CountingDevice final : public Device {
 public:
  CountingDevice(Device& inner, bool concurrent_parts);

  const std::string& name() const override { return inner_.name(); }
  const OpTable& ops() const override { return ops_; }
  std::byte* allocate(size_t bytes) override;
  void free(std::byte* p, size_t bytes) override { inner_.free(p, bytes); }
  void copy_from_host(std::byte* dst, const void* src, size_t bytes) override;
  void copy_to_host(void* dst, const std::byte* src, size_t bytes) override;
  void finish() override { inner_.finish(); }
  DeviceMemory memory() const override { return inner_.memory(); }
  bool has_fast_bf16() const override { return inner_.has_fast_bf16(); }
  bool concurrent_parts() const override { return concurrent_parts_; }
  bool cheap_row_parts(DType t) const override { return inner_.cheap_row_parts(t); }
  std::string fingerprint() const override { return inner_.fingerprint(); }

  // What was counted since the last call.
  DeviceCounts take();

 private:
  static constexpr size_t kOps = std::variant_size_v<AnyOp>;
  template <class Op, void (*OpTable::*kEntry)(Context&, const Op&)>
  static void counted(Context& ctx, const Op& op);

  Device& inner_;
  bool concurrent_parts_;
  OpTable ops_;
  std::array<std::atomic<int64_t>, kOps> calls_{};
  std::atomic<int64_t> longest_{0};
  std::atomic<int64_t> uploads_{0}, downloads_{0}, uploaded_bytes_{0}, downloaded_bytes_{0}, allocations_{0};
};

}  // namespace r1::test
