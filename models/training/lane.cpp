#include "models/training/lane.h"

#include <algorithm>

#include "base/stop.h"

namespace r1 {
namespace {

constexpr int64_t kSideBySideParameters = 16'000'000;
constexpr int64_t kLanes = 4;
// Elements a task of the gradient sum handles.
constexpr int64_t kSumChunk = int64_t{1} << 16;

}  // namespace

Lanes::Lanes(Device& device, const ModelConfig& config) {
  const int64_t n = config.parameter_count() <= kSideBySideParameters ? kLanes : 1;
  for (int64_t i = 0; i < n; ++i) lanes_.push_back(std::make_unique<Lane>(device));
}

void Lanes::for_each(int64_t micro_batches, const std::function<void(Lane&, int64_t)>& f) {
  const auto one = [&](Lane& lane, int64_t i) {
    check_stop();
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

Gradients* Lanes::sum_gradients() {
  std::vector<Gradients*> parts;
  for (auto& lane : lanes_) {
    if (lane->has_grads) parts.push_back(lane->grads.get());
    lane->has_grads = false;
  }
  if (parts.empty()) return nullptr;
  if (parts.size() > 1) {
    const int64_t n = parts[0]->flat().size();
    Device& device = *parts[0]->flat().device;
    device_tasks(device, (n + kSumChunk - 1) / kSumChunk, [&](int64_t c) {
      Context ctx(device);
      ctx.parallel = false;
      const int64_t begin = c * kSumChunk, end = std::min(n, begin + kSumChunk);
      for (size_t p = 1; p < parts.size(); ++p)
        run(ctx, Axpby{parts[p]->flat().slice(begin, end), parts[0]->flat().slice(begin, end), 1, 1});
    });
  }
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

PackedInput upload_pack(Context& ctx, const MicroBatch& m) {
  return {upload_i32(ctx, m.ids), upload_i32(ctx, m.positions), m.all_rows ? View{} : upload_i32(ctx, m.rows),
          PackedAttention{upload_i32(ctx, m.offsets)}};
}

}  // namespace r1
