#include "tools/bench/profiling_device.h"

#include <algorithm>

#include "kernels/op_names.h"

namespace r1::bench {

template <class Op, void (*OpTable::*kEntry)(Context&, const Op&)>
void ProfilingDevice::timed(Context& ctx, const Op& op) {
  auto& self = static_cast<ProfilingDevice&>(*ctx.device);
  const AnyOp any = op;
  const Work work = op_work(any);
  Slot& slot = self.slots_[any.index()];
  ctx.device = &self.inner_;  // whose own kernels look for it there
  const int64_t begin = monotonic_ns();
  (self.inner_.ops().*kEntry)(ctx, op);
  if (self.waits_) self.inner_.finish();
  ctx.device = &self;
  const int64_t ns = monotonic_ns() - begin;
  slot.calls += 1;
  slot.core_ns += ctx.parallel ? ns * self.threads_ : ns;
  slot.flops += static_cast<int64_t>(work.flops);
  slot.bytes += static_cast<int64_t>(work.bytes);
  slot.type = work.type;
}

ProfilingDevice::ProfilingDevice(Device& inner) : inner_(inner), waits_(is_card(inner)), threads_(counted_cores(inner)) {
#define R1_SET_ENTRY(Struct, field) \
  if (inner.ops().field != nullptr) ops_.field = &ProfilingDevice::timed<Struct, &OpTable::field>;
  R1_OPS(R1_SET_ENTRY)
#undef R1_SET_ENTRY
}

void ProfilingDevice::reset() {
  for (Slot& s : slots_) s.calls = s.core_ns = s.flops = s.bytes = 0;
}

std::vector<OpTime> ProfilingDevice::times() const {
  std::vector<OpTime> out;
  for (size_t i = 0; i < kOps; ++i) {
    const Slot& s = slots_[i];
    if (s.calls == 0) continue;
    const Work work{static_cast<double>(s.flops), static_cast<double>(s.bytes), s.type};
    out.push_back({kOpNames[i], s.calls, static_cast<double>(s.core_ns), work});
  }
  std::sort(out.begin(), out.end(), [](const OpTime& a, const OpTime& b) { return a.core_ns > b.core_ns; });
  return out;
}

}  // namespace r1::bench
