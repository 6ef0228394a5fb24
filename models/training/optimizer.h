// AdamW and Muon on the flat f32 arrays of a model: masters, gradients, state. Not the schedule's caller, no losses.
//
// AdamW: Loshchilov & Hutter 2019, algorithm 2; decay only on matrices, embedding and head.
// Muon: Jordan 2024 (kellerjordan.github.io/posts/muon), on matrices; q, k, v and gate, up are orthogonalised separately; the
// rest of the parameters by AdamW.  Per published matrix G [rows, cols]:
//   buffer = momentum * buffer + g;  u = g + momentum * buffer;  X = u / |u|_F
//   5 times:  A = X X^T,  X = a X + (b A + c A A) X    with (a, b, c) = (3.4445, -4.7750, 2.0315)   (on the shorter side)
//   master = master * (1 - lr * decay) - lr * sqrt(max(1, rows / cols)) * X
// Selection biases of experts move by their load (MoeBiasUpdate, V3 2.1.2), not by a gradient. An MTP module that is not
// trained is left alone: no decay, no momentum. Routers are AdamW's also under Muon. Work is cut on a fixed grid, so bits do
// not depend on the number of threads. Thread rule: one thread at a time.
#pragma once

#include <memory>
#include <vector>

#include "models/training/trainer_engine.h"
#include "models/tape.h"
#include "models/weights.h"

namespace r1 {

// Factor on the learning rate of optimizer step `step` (from 0): linear warm-up to 1, then the schedule down to lr_end at
// total_steps.
double schedule_factor(const TrainerConfig&, int64_t step);

class Optimizer {
 public:
  // `side_by_side`: matrices of Muon run in parallel, one thread each (small models on a device with concurrent parts), else
  // one by one with all threads inside.
  Optimizer(const WeightSet& masters, const TrainerConfig&, bool side_by_side);

  // One step. Each gradient is multiplied by `grad_scale` (loads are not). `weights`: receives the masters rounded to its
  // dtype; may be the masters themselves. `factor`: on both learning rates. Counts the step.
  void step(const WeightSet& masters, const Gradients& grads, const WeightSet& weights, double factor, double grad_scale);
  // The parameters that step() neither changes nor writes to `weights` (indices into specs()).
  std::vector<size_t> untouched() const;
  // Root of the sum of squares over the trainable segments.
  double norm(const Gradients& grads);

  // Other numbers of the same optimizer.
  void change(const TrainerConfig& config) { config_ = config; }

  int64_t steps() const { return steps_; }
  void set_steps(int64_t n) { steps_ = n; }
  // First and second moments, laid out like masters; Muon keeps its momentum in the first.
  const WeightSet& first() const { return first_; }
  const WeightSet& second() const { return second_; }

 private:
  // A published matrix under Muon.
  struct Matrix {
    int param;
    int64_t row_begin, rows, cols;
  };
  // What AdamW updates of a segment (AdamW::ranges).
  struct Ranges {
    size_t segment;
    Tensor ranges;
  };
  void muon(Context& ctx, const WeightSet& masters, const Gradients& grads, const WeightSet& weights, const Matrix& m,
            double factor, double grad_scale);
  void update_biases(const WeightSet& masters, const Gradients& grads, const WeightSet& weights);

  TrainerConfig config_;
  WeightSet first_, second_;
  std::vector<Ranges> ranges_;
  std::vector<Matrix> matrices_;
  std::vector<int> biases_;                         // parameters of role selection_bias that are trained
  std::vector<size_t> frozen_;                      // parameters that are not trained
  Context ctx_;                                     // of what takes all parameters at once
  std::vector<std::unique_ptr<Context>> contexts_;  // one per matrix (side by side), or a single one
  bool side_by_side_;
  int64_t steps_ = 0;
};

}  // namespace r1
