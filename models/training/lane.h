// A lane: what one micro-batch needs to run by itself - a context, a tape, gradients. And the loop that spreads micro-batches
// over lanes: micro-batch i runs on lane i mod L, in order, so that sums do not depend on the number of threads. Thread rule: a
// Lane belongs to one thread at a time; for_each_micro_batch is called from one thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/staging.h"
#include "models/model.h"
#include "models/training/packing.h"

namespace r1 {

struct Lane {
  explicit Lane(Device& device) : ctx(device) {}
  Context ctx;
  Tape tape;
  Staging staging;
  std::unique_ptr<Gradients> grads;  // null until it is first needed
  bool has_grads = false;            // grads hold something of the current optimizer step
};

class Lanes {
 public:
  // Where several contexts may work at once (Device::concurrent_parts) small models run several micro-batches side by side,
  // each on one thread; else, and for large models, one after the other with all threads inside the ops, so that memory stays
  // that of one micro-batch.
  Lanes(Device& device, const ModelConfig& config);
  int64_t size() const { return static_cast<int64_t>(lanes_.size()); }
  Lane& operator[](int64_t i) { return *lanes_[static_cast<size_t>(i)]; }

  // f(lane, index) for every micro-batch; the lane's tape and arena are fresh each time.
  // Looks for a stop between micro-batches.
  void for_each(int64_t micro_batches, const std::function<void(Lane&, int64_t)>& f);
  // Adds up the gradients of all lanes that have some, in order of lanes, into the first one; zeros when there are none.
  Gradients* sum_gradients(const WeightSet& like);
  // Makes the lane's gradients ready to be added to: allocated, and zero if nothing of this step is in them yet.
  static Gradients& ready_gradients(Lane& lane, const WeightSet& like);

 private:
  std::vector<std::unique_ptr<Lane>> lanes_;
};

// A micro-batch on the device.
struct PackedInput {
  View ids, positions, rows;  // rows absent when all rows go through the head
  AttentionContext attention;
};
// The same on its way there, so that what else a micro-batch needs travels with it.
struct PackedSlots {
  Staging::Slot ids, positions, rows, offsets, seen, own;
  int64_t longest;
};
PackedSlots add_pack(Staging&, const MicroBatch&);
PackedInput view_pack(const Staging&, const PackedSlots&);
// Alone, in the context's arena.
PackedInput upload_pack(Context& ctx, const MicroBatch& m);
// Arena memory holding `host`.
View upload_i32(Context& ctx, const std::vector<int32_t>& host);
View upload_f32(Context& ctx, const std::vector<float>& host);

}  // namespace r1
