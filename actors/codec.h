// The opaque blobs of the run store: sequences as bytes (docs/formats.md, "Blobs"). Little-endian, versioned by their first
// byte. Thread rule: pure functions. Malformed bytes throw failure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/sequence.h"

namespace r1 {

// One sequence with everything but the reference's log-probabilities and the advantage.
std::string encode_sequence(const Sequence& sequence);
Sequence decode_sequence(std::string_view bytes);

// What the update of a batch depends on besides its trajectories.
struct BatchContent {
  struct Item {
    int64_t draw = -1;  // of the stage; -1: `inline_sequence` holds the tokens (examples, pairs)
    int32_t sample = 0;
    float advantage = 0;
    std::vector<float> reference_logp;  // empty without a reference
    Sequence inline_sequence;
  };
  std::vector<Item> items;                          // in training order
  int64_t silent_sequences = 0, silent_tokens = 0;  // TrainBatch's
};
std::string encode_batch(const BatchContent& batch);
BatchContent decode_batch(std::string_view bytes);

}  // namespace r1
