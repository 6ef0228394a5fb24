// What an actor takes of the memory of the device that it computes on: counted from its model's configuration and its
// attributes, before anything is loaded. Not what other programs take, nor what a process takes of the host for messages.
// Thread rule: pure but for reading config.json.
#pragma once

#include <filesystem>
#include <string>

#include "kernels/tensor.h"
#include "runtime/graph/graph.h"

namespace r1 {

// Bytes. What is known to be needed, and what grows with the work: the KV cache up to all that may run at once with prompts of
// kPlannedPrompt tokens, and activations and logits, roughly.
struct MemoryNeed {
  double weights = 0;                              // in the run's precision; of two versions where one is received or written
  double masters = 0, moments = 0, gradients = 0;  // f32
  double kv_cache = 0, work = 0;

  double fixed() const { return weights + masters + moments + gradients; }
  bool none() const { return fixed() + kv_cache + work == 0; }
};
inline constexpr int64_t kPlannedPrompt = 1024;

// Of a node whose role computes (it has the attribute `on`); nothing for a judge without models.
MemoryNeed memory_need(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan&, DType precision);

// "weights 1.2 MiB, KV cache up to 30 MiB"
std::string memory_text(const MemoryNeed&);

}  // namespace r1
