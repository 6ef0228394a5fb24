#include "tests/kernels/counting_device.h"

#include <type_traits>

#include "kernels/op_names.h"

namespace r1::test {

template <class Op, void (*OpTable::*kEntry)(Context&, const Op&)>
void CountingDevice::counted(Context& ctx, const Op& op) {
  auto& self = static_cast<CountingDevice&>(*ctx.device);
  ++self.calls_[AnyOp(op).index()];
  if constexpr (std::is_same_v<Op, AttentionPackedBackward>) self.longest_ += op.longest;
  (self.inner_.ops().*kEntry)(ctx, op);
}

CountingDevice::CountingDevice(Device& inner, bool concurrent_parts) : inner_(inner), concurrent_parts_(concurrent_parts) {
#define R1_SET_ENTRY(Struct, field) \
  if (inner.ops().field != nullptr) ops_.field = &CountingDevice::counted<Struct, &OpTable::field>;
  R1_OPS(R1_SET_ENTRY)
#undef R1_SET_ENTRY
}

std::byte* CountingDevice::allocate(size_t bytes) {
  ++allocations_;
  return inner_.allocate(bytes);
}

void CountingDevice::copy_from_host(std::byte* dst, const void* src, size_t bytes) {
  ++uploads_;
  uploaded_bytes_ += static_cast<int64_t>(bytes);
  inner_.copy_from_host(dst, src, bytes);
}

void CountingDevice::copy_to_host(void* dst, const std::byte* src, size_t bytes) {
  ++downloads_;
  downloaded_bytes_ += static_cast<int64_t>(bytes);
  inner_.copy_to_host(dst, src, bytes);
}

DeviceCounts CountingDevice::take() {
  DeviceCounts c;
  for (size_t i = 0; i < kOps; ++i) {
    const int64_t n = calls_[i].exchange(0);
    c.ops += n;
    if (n > 0) c.by_op[kOpNames[i]] = n;
  }
  c.longest = longest_.exchange(0);
  c.uploads = uploads_.exchange(0);
  c.downloads = downloads_.exchange(0);
  c.uploaded_bytes = uploaded_bytes_.exchange(0);
  c.downloaded_bytes = downloaded_bytes_.exchange(0);
  c.allocations = allocations_.exchange(0);
  return c;
}

}  // namespace r1::test
