// The generator's engine: paged KV cache, continuous batching, prefix sharing inside a group, counter-based sampling.
//
// A sampled token is a pure function of (weights history, prompt, seed key, sample, position): neither batch composition nor
// admission order nor page layout nor threads nor drafting change a bit of it. Thread rule: one thread at a time; what a call
// has issued on the device is done when it returns.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/engines.h"

namespace r1 {

class GeneratorEngine final : public Sampler {
 public:
  GeneratorEngine(Device&, const GeneratorConfig&, std::shared_ptr<const WeightSet> weights, int64_t version);
  ~GeneratorEngine() override;

  void submit(GenRequest request) override;
  int64_t pending() const override;
  std::vector<GenResult> step() override;
  void set_weights(std::shared_ptr<const WeightSet> weights, int64_t version) override;
  // What a pending request has sampled so far: the tokens behind its prompt. Valid until the next call; empty for an id that is
  // not pending.
  std::span<const int32_t> sampled(uint64_t id, size_t sample) const;
  int64_t version() const override;
  std::vector<uint64_t> cancel_all() override;
  const GeneratorStats& stats() const override;
  int64_t pages_in_use() const;  // 0 when nothing is pending

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
