// Engines that learn nothing and take microseconds, for simulations of whole runs: what they give is a function of the weights'
// hash and of what they are asked, and keeps every contract of models/engines.h that roles rely on - versions, real weight
// sets with real hashes and sparse deltas, log-probabilities that agree between sampler, learner and frozen model (P2), states
// that are saved and loaded. Not models: no token of theirs means anything. Thread rule: one thread for a factory and its
// engines.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "models/engines.h"

namespace r1 {

// Looks on, and may throw: an engine that fails. All may be absent.
struct FakeEngineHooks {
  std::function<void(const std::string& node, const char* call)> call;  // "train", "step", "logprobs", "save", ...
  // A sampler has these weights, as this version, from now on.
  std::function<void(const std::string& node, int64_t version, const Hash128& hash)> holds;
};

std::shared_ptr<const EngineFactory> fake_engines(Device& device, FakeEngineHooks hooks = {});

}  // namespace r1
