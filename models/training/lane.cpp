#include "models/training/lane.h"

#include <algorithm>

#include "base/stop.h"

namespace r1 {
namespace {

constexpr int64_t kSideBySideParameters = 16'000'000;
constexpr int64_t kLanes = 4;

}  // namespace

Lanes::Lanes(Device& device, const ModelConfig& config) {
  const bool side_by_side = device.concurrent_parts() && config.parameter_count() <= kSideBySideParameters;
  const int64_t n = side_by_side ? kLanes : 1;
  for (int64_t i = 0; i < n; ++i) lanes_.push_back(std::make_unique<Lane>(device));
}

void Lanes::for_each(int64_t micro_batches, const std::function<void(Lane&, int64_t)>& f) {
  const auto one = [&](Lane& lane, int64_t i) {
    next_unit();
    lane.tape.clear();
    lane.ctx.arena.reset();
    f(lane, i);
  };
  const int64_t used = std::min(micro_batches, size());
  if (used <= 1) {
    for (int64_t i = 0; i < micro_batches; ++i) {
      lanes_[0]->ctx.parallel = true;
      one(*lanes_[0], i);
    }
    return;
  }
  device_tasks(lanes_[0]->ctx.arena.device(), used, [&, stop = current_stop()](int64_t l) {
    const StopScope scope(stop);
    Lane& lane = *lanes_[static_cast<size_t>(l)];
    lane.ctx.parallel = false;
    for (int64_t i = l; i < micro_batches; i += size()) one(lane, i);
  });
}

Gradients& Lanes::ready_gradients(Lane& lane, const WeightSet& like) {
  if (!lane.grads) lane.grads = std::make_unique<Gradients>(like);
  if (!lane.has_grads) lane.grads->zero(lane.ctx);
  lane.has_grads = true;
  return *lane.grads;
}

Gradients* Lanes::sum_gradients(const WeightSet& like) {
  std::vector<Gradients*> parts;
  for (auto& lane : lanes_) {
    if (lane->has_grads) parts.push_back(lane->grads.get());
    lane->has_grads = false;
  }
  Context& ctx = lanes_[0]->ctx;
  ctx.parallel = true;
  if (parts.empty()) {
    parts.push_back(&ready_gradients(*lanes_[0], like));
    lanes_[0]->has_grads = false;
  }
  for (size_t p = 1; p < parts.size(); ++p) run(ctx, Axpby{parts[p]->flat(), parts[0]->flat(), 1, 1});
  return parts[0];
}

View upload_i32(Context& ctx, const std::vector<int32_t>& host) {
  const View v = ctx.arena.alloc(DType::i32, {static_cast<int64_t>(host.size())});
  upload(v, host);
  return v;
}

View upload_f32(Context& ctx, const std::vector<float>& host) {
  const View v = ctx.arena.alloc(DType::f32, {static_cast<int64_t>(host.size())});
  upload(v, host);
  return v;
}

PackedSlots add_pack(Staging& s, const MicroBatch& m) {
  int64_t longest = 0;
  for (size_t i = 1; i < m.offsets.size(); ++i) longest = std::max<int64_t>(longest, m.offsets[i] - m.offsets[i - 1]);
  const auto shared = [&](const std::vector<int32_t>& rows) { return rows.empty() ? Staging::Slot{} : s.add(rows); };
  return {s.add(m.ids),     s.add(m.positions), m.all_rows ? Staging::Slot{} : s.add(m.rows),
          s.add(m.offsets), shared(m.seen),     shared(m.own),
          longest};
}

PackedInput view_pack(const Staging& s, const PackedSlots& at) {
  return {s.view(at.ids), s.view(at.positions), s.view(at.rows),
          PackedAttention{s.view(at.offsets), at.longest, s.view(at.seen), s.view(at.own)}};
}

PackedInput upload_pack(Context& ctx, const MicroBatch& m) {
  Staging staging;
  const PackedSlots at = add_pack(staging, m);
  staging.send(ctx.arena);
  return view_pack(staging, at);
}

}  // namespace r1
