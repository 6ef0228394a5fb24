#include "kernels/fake/fake_device.h"

#include "base/error.h"
#include "kernels/op_views.h"

namespace r1 {

namespace {

// Bit 55: on x86-64 with 47-bit user addresses such an address is not canonical, with 56-bit ones it is far above what is
// mapped; on AArch64 it selects the kernel's half, while the bits above may be ignored tags. Below bit 55 arithmetic works as
// usual.
constexpr uintptr_t kTag = uintptr_t{1} << 55;

std::byte* tagged(std::byte* p) { return reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(p) | kTag); }

std::byte* untagged(const std::byte* p) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(p);
  R1_CHECK((address & kTag) != 0, "a host address was given to the fake device");
  return reinterpret_cast<std::byte*>(address & ~kTag);
}

template <class Op, void (*OpTable::*kEntry)(Context&, const Op&)>
void run_inside(Context& ctx, const Op& op) {
  FakeDevice& fake = static_cast<FakeDevice&>(*ctx.device);
  Op inner_op = op;
  for_each_view(inner_op, [&](View& v, ViewInfo) {
    if (!v) return;
    v.data = untagged(v.data);
    v.device = &fake.inner();
  });
  std::unique_ptr<Context> inner = fake.borrow_context();
  inner->parallel = ctx.parallel;
  (fake.inner().ops().*kEntry)(*inner, inner_op);
  fake.return_context(std::move(inner));
}

}  // namespace

FakeDevice::FakeDevice(Device& inner) : inner_(inner) {
#define R1_SET_ENTRY(Struct, field) \
  if (inner.ops().field != nullptr) ops_.field = run_inside<Struct, &OpTable::field>;
  R1_OPS(R1_SET_ENTRY)
#undef R1_SET_ENTRY
}

std::byte* FakeDevice::allocate(size_t bytes) { return tagged(inner_.allocate(bytes)); }

void FakeDevice::free(std::byte* p, size_t bytes) { inner_.free(untagged(p), bytes); }

void FakeDevice::copy_from_host(std::byte* dst, const void* src, size_t bytes) {
  inner_.copy_from_host(untagged(dst), src, bytes);
}

void FakeDevice::copy_to_host(void* dst, const std::byte* src, size_t bytes) { inner_.copy_to_host(dst, untagged(src), bytes); }

std::unique_ptr<Context> FakeDevice::borrow_context() {
  const std::lock_guard lock(mutex_);
  if (idle_contexts_.empty()) return std::make_unique<Context>(inner_);
  std::unique_ptr<Context> ctx = std::move(idle_contexts_.back());
  idle_contexts_.pop_back();
  return ctx;
}

void FakeDevice::return_context(std::unique_ptr<Context> ctx) {
  const std::lock_guard lock(mutex_);
  idle_contexts_.push_back(std::move(ctx));
}

}  // namespace r1
