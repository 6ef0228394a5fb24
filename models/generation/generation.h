// What a generator's engine is told, asked and answers. Plain data; the engine is models/generation/generator_engine.h.
// Thread rule: values.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/sequence.h"

namespace r1 {

class StopTexts;

enum class OnFlip { recompute, keep, finish };

struct GeneratorConfig {
  int64_t max_rows = 256;     // rows (tokens) of one step: decode rows plus prompt rows being prefilled
  int64_t max_running = 256;  // sequences decoding at once
  int64_t kv_pages = 0;       // 0: enough for max_running sequences of the longest request
  // Parts of a step's rows that run side by side, each on one thread (whole sequences; no result depends on it). 0: one per
  // thread while the parts are worth it (Device::cheap_row_parts). Where there is one, the ops themselves spread over the
  // threads.
  int64_t shards = 0;
  // The shards of models up to this size do not meet before the step's end. Those of larger ones go through every layer
  // together, read its weights once, and join their rows for its experts.
  int64_t small_parameters = 16'000'000;
  OnFlip on_flip = OnFlip::recompute;
  // Speculative decoding: the model's multi-token prediction module (which it must have) guesses the token after the next, and
  // the following step verifies the guess in a row of its own. The same tokens and log-probabilities in fewer steps.
  bool draft = false;
  uint64_t page_shuffle_seed = 0;  // tests: not 0 hands KV pages out in a shuffled order (no result depends on it)
};

// Of sampling: a temperature is 0 (greedy) or from the least one on, where logits divided by it stay finite; some probability
// is always sampled from.
inline constexpr double kLeastTemperature = 1e-3, kMostTemperature = 100, kLeastTopP = 1e-6;

struct GenRequest {
  uint64_t id = 0;              // the caller's (a draw)
  uint64_t rng_key = 0;         // sample s uses rng_key mixed with s, position = index of the token in its sequence
  std::vector<int32_t> prompt;  // at least one token
  int samples = 1;
  int64_t max_new_tokens = 96;
  std::vector<int32_t> stop_ids;                // a sample ends after it emits one of these
  std::shared_ptr<const StopTexts> stop_texts;  // or when its text holds one of these; null: none
  float temperature = 1;          // 0: greedy
  int top_k = 0;
  float top_p = 1;
};

struct GenResult {
  uint64_t id = 0;
  // One per sample, prompt included; trainable on the new tokens; behaviour_logp, version, exact filled. exact[i] = 1 when
  // token i's whole context was computed under its version.
  std::vector<Sequence> samples;
  std::vector<uint8_t> finished;  // 1: ended with a stop id or a stop text, 0: ran into max_new_tokens
};

struct GeneratorStats {
  int64_t tokens_generated = 0;
  int64_t tokens_prefilled = 0;                     // prompt rows, once per group
  int64_t tokens_recomputed = 0;                    // rows computed again after a flip or a preemption
  int64_t tokens_drafted = 0, tokens_accepted = 0;  // drafts that got a row; those that were the token sampled
  int64_t steps = 0, flips = 0, peak_pages = 0;
  int64_t steps_replayed = 0;  // that a recording issued (Device::recordings_pay)
};

}  // namespace r1
