// The trainer's engine: masters, optimizer, objectives. One train() is one version. No actor, no file format of a run.
//
// Determinism: the result of train() is a pure function of (state, batch, config): micro-batches are packed in order under a
// fixed token budget, gradients are summed on a fixed grid, whatever the number of threads. Thread rule: one thread at a time;
// what a call has issued on the device is done when it returns, so the next call may be another thread's.
#pragma once

#include <memory>

#include "kernels/collective.h"
#include "models/engines.h"
#include "models/training/trainer_state.h"

namespace r1 {

class TrainerEngine final : public RankLearner {
 public:
  // `start`: any dtype; masters are f32 copies. `first_version`: version() before the first train().
  // `together`: of TrainerConfig::ranks ranks, each an engine of its own that is asked for the same things in the same order,
  // with the same batches; a batch's micro-batches and the optimizer are theirs in parts. Null where there is one.
  TrainerEngine(Device&, const TrainerConfig&, const WeightSet& start, int64_t first_version = 0,
                std::unique_ptr<Collective> together = nullptr);
  ~TrainerEngine() override;

  int64_t version() const override;
  // Sequences longer than the model's max_positions are a CHECK (the filter drops them).
  TrainStats train(const TrainBatch& batch) override;
  // Mean loss / pair accuracy without learning (evaluation of sft data and of reward models).
  TrainStats evaluate(const TrainBatch& batch);
  // The same set until the next step that learns; in bf16 nothing is copied.
  std::shared_ptr<const WeightSet> weights() const override;
  // Of the first rank: as they were at the last gather_masters() where ranks are several.
  const WeightSet& masters() const override;
  Hash128 masters_hash() const override;
  void change(const TrainerConfig& config) override;
  // The state: masters, optimizer state, step counters, whatever the number of ranks.
  std::function<void()> begin_save(const std::filesystem::path& file) const override;
  void give_state() const override;
  std::function<void()> begin_load(const std::filesystem::path& file) override;
  void take_state() override;
  void gather_masters() override;
  void leave(const std::string& why = {}) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
