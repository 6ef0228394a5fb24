// A device whose memory the host cannot read: every address it hands out traps when dereferenced.
//
// It stands for a GPU in tests on machines without one: code that touches View::data outside kernels/ crashes here. Its kernels
// are those of an inner host device, called with the true addresses and a context of the inner device.
//
// Thread rule: as Device.
#pragma once

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
  void copy_from_host(std::byte* dst, const void* src, size_t bytes) override;
  void copy_to_host(void* dst, const std::byte* src, size_t bytes) override;
  bool has_fast_bf16() const override { return inner_.has_fast_bf16(); }
  bool concurrent_parts() const override { return inner_.concurrent_parts(); }
  bool cheap_row_parts(DType t) const override { return inner_.cheap_row_parts(t); }
  std::string fingerprint() const override { return "fake over " + inner_.fingerprint(); }
  Device& inner() const { return inner_; }

  // A context of the inner device, on loan to one thread: contexts keep their arena's memory between ops.
  std::unique_ptr<Context> borrow_context();
  void return_context(std::unique_ptr<Context> ctx);

 private:
  std::string name_ = "fake";
  Device& inner_;
  OpTable ops_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Context>> idle_contexts_;
};

}  // namespace r1
