// The data that engines exchange: token sequences with what happened to each token. Plain host structs, no tensors.
// Thread rule: values.
#pragma once

#include <cstdint>
#include <vector>

namespace r1 {

// One sequence: a prompt and what follows. All per-token vectors are empty or have tokens.size() entries; the entry at i speaks
// about tokens[i] itself (its log-probability given tokens[0..i-1]); entry 0 is never trainable.
struct Sequence {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> trainable;     // 1: the loss counts this token (several turns and tool results fit)
  std::vector<float> behaviour_logp;  // recorded when sampled, log_softmax(logits / T)
  std::vector<float> reference_logp;  // from the reference model, same T; empty without a KL term
  std::vector<int64_t> version;       // weights that produced the token; -1 for prompt tokens
  // 1: sampled under `version` with the whole context computed under the same version (so P2 applies to it).
  std::vector<uint8_t> exact;
  float advantage = 0;  // grpo: group-normalised
};

// What a trainer learns from in one version.
struct TrainBatch {
  // grpo, sft, pretrain: sequences. reward_model: 2P sequences, chosen and rejected alternating.
  std::vector<Sequence> sequences;
  // grpo: sequences that teach nothing and are left out, and their completions' tokens: the loss's mean counts them all the
  // same.
  int64_t silent_sequences = 0, silent_tokens = 0;
};

}  // namespace r1
