// AdamW and Muon on the flat f32 arrays of a model: masters, gradients, state. Not the schedule's caller, no losses.
//
// AdamW: Loshchilov & Hutter 2019, algorithm 2; decay only on matrices, embedding and head.
// Muon: Jordan 2024 (kellerjordan.github.io/posts/muon), on matrices; q, k, v and gate, up are orthogonalised separately; the
// rest of the parameters by AdamW.  Per published matrix G [rows, cols]:
//   buffer = momentum * buffer + g;  u = g + momentum * buffer;  X = u / |u|_F
//   5 times:  A = X X^T,  X = a X + (b A + c A A) X    with (a, b, c) = (3.4445, -4.7750, 2.0315)   (on the shorter side)
//   products of bf16 where the weights are bf16 (as Jordan's), else of f32
//   master = master * (1 - lr * decay) - lr * sqrt(max(1, rows / cols)) * X
// Selection biases of experts move by their load (MoeBiasUpdate, V3 2.1.2), not by a gradient. An MTP module that is not
// trained is left alone: no decay, no momentum. Routers are AdamW's also under Muon. Work is cut on a fixed grid, so bits do
// not depend on the number of threads. Thread rule: one thread at a time.
#pragma once

#include <memory>
#include <vector>

#include "kernels/collective.h"
#include "models/training/trainer_config.h"
#include "models/tape.h"
#include "models/weights.h"

namespace r1 {

// Factor on the learning rate of optimizer step `step` (from 0): linear warm-up to 1, then the schedule down to lr_end at
// total_steps.
double schedule_factor(const TrainerConfig&, int64_t step);

// The f32 values that one rank's optimizer moves: its shard of what is trained, [shard], and all selection biases (absent where
// the model has none), which every rank moves alike.
struct Masters {
  View shard, biases;
};
// Of a set that holds them all.
Masters masters_in(const WeightSet& whole, const ElementRange& shard);

// What is trained, cut for `ranks` optimizers into consecutive ranges as equal as that allows: at multiples of 64 bytes, and
// never inside a matrix of Muon.
std::vector<ElementRange> optimizer_shards(const WeightSet& like, const TrainerConfig&, int64_t ranks);

class Optimizer {
 public:
  // `like`: a set of the model, of which names and places matter. `side_by_side`: matrices of Muon run in parallel, one thread
  // each (small models on a device with concurrent parts), else one by one with all threads inside. `shard`: what of
  // optimizer_shards() is this one's.
  Optimizer(const WeightSet& like, const TrainerConfig&, bool side_by_side, const ElementRange& shard);
  // Of everything.
  Optimizer(const WeightSet& like, const TrainerConfig&, bool side_by_side);

  // One step. Each gradient is multiplied by `grad_scale` (loads are not). `weights`: receives the shard and the biases,
  // rounded to its dtype; may be the masters themselves. `factor`: on both learning rates. Counts the step.
  void step(const Masters& masters, const Gradients& grads, const WeightSet& weights, double factor, double grad_scale);
  // The parameters that step() neither changes nor writes to `weights`, whatever the shard (indices into specs()).
  std::vector<size_t> untouched() const;
  // Sum of squares over the shard.
  double squares(const Gradients& grads);

  // Other numbers of the same optimizer.
  void change(const TrainerConfig& config) { config_ = config; }

  int64_t steps() const { return steps_; }
  void set_steps(int64_t n) { steps_ = n; }
  const ElementRange& shard() const { return shard_; }
  // First and second moments of the shard, [shard] f32; Muon keeps its momentum in the first.
  const View& first() const { return first_; }
  const View& second() const { return second_; }

 private:
  // A published matrix under Muon: values [begin, begin + rows * cols) of what is trained.
  struct Matrix {
    int64_t begin, rows, cols;
  };
  void muon(Context& ctx, const Masters& masters, const Gradients& grads, const WeightSet& weights, const Matrix& m,
            double factor, double grad_scale);
  void update_biases(const Masters& masters, const Gradients& grads, const WeightSet& weights);

  TrainerConfig config_;
  ElementRange shard_;
  Tensor first_, second_;
  Tensor ranges_;  // AdamW::ranges, counted from the shard's begin; absent: none
  std::vector<Matrix> matrices_;
  std::vector<int> biases_;                         // parameters of role selection_bias that are trained
  std::vector<size_t> frozen_;                      // parameters that are not trained
  Context ctx_;                                     // of what takes all parameters at once
  std::vector<std::unique_ptr<Context>> contexts_;  // one per matrix (side by side), or a single one
  bool side_by_side_;
  int64_t steps_ = 0;
};

}  // namespace r1
