// The models that r1-bench trains and generates with: random weights, real shapes. One line adds a model.
// Thread rule: values.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/sequence.h"
#include "models/weights.h"

namespace r1::bench {

struct BenchModel {
  std::string name;  // what --arch says: "llama"
  ModelConfig config;
  double train_goal = 0, generate_goal = 0;  // fraction of the ceiling asked for; 0: none
};

// size: "base" (25 to 60 million parameters), "tiny" (those of the built-in world) or "published" (SmolLM2-135M and
// Qwen2.5-0.5B).
std::vector<BenchModel> bench_models(const std::string& size);
// The same architecture in a few thousand parameters: what verification compares with the slow reference.
ModelConfig miniature(const ModelConfig&);

// Random weights on a device, rounded to `dtype`.
std::shared_ptr<WeightSet> bench_weights(Device&, const ModelConfig&, DType dtype);
// Random token sequences of `length` tokens, all trainable but the first.
std::vector<Sequence> bench_sequences(const ModelConfig&, int64_t count, int64_t length, uint64_t seed);

}  // namespace r1::bench
