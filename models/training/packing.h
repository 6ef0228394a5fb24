// Sequences cut into micro-batches: packed rows on the host, nothing on a device yet.
//
// The cut is a pure function of the sequences and the rules: sequences stay in order, never split, at most `budget` rows
// together (a longer sequence is alone), micro-batches as equal as that allows. Where neighbours begin alike, as the
// completions of one prompt do, the rows that they share are packed once: a row's bits depend on the tokens up to it alone, and
// its gradient is the sum of what its sequences give it. Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/sequence.h"

namespace r1 {

// Which rows go through the head. Row i of a sequence has read tokens 0..i and predicts token i+1.
enum class HeadRows {
  every_token,  // the predictions of all tokens after the first (pretrain, scoring)
  trainable,    // the predictions of trainable tokens
  last_token,   // the last token's own row (scalar head)
};

struct MicroBatch {
  std::vector<int32_t> ids, positions;  // [T]
  std::vector<int32_t> offsets;         // [S+1] of the sequences in the keys that attention sees, each of them whole
  std::vector<int32_t> seen;            // [A] of each such key its place among `ids`; empty: they are the same
  std::vector<int32_t> own;           // [S+1] offsets of each sequence's own rows, its last ones, among `ids`; empty: as above
  std::vector<int32_t> rows;          // [N] rows of the pack that go through the head
  std::vector<int32_t> targets;       // [N] the token each predicts (last_token: 0)
  std::vector<int32_t> row_sequence;  // [N] index of the sequence in the packed list
  std::vector<int32_t> row_token;     // [N] index of the predicted token (last_token: of the token itself)
  bool all_rows = false;              // rows are 0..T-1
};

// Keys that attention may see for each row that is packed: memory of one layer at a time.
inline constexpr int64_t kMostSeenRows = 4;

struct PackRules {
  HeadRows head_rows = HeadRows::every_token;
  int64_t budget = 1024;  // rows of a micro-batch; keys that attention sees: at most kMostSeenRows times as many
  int64_t group = 1;      // this many neighbouring sequences stay together (2: pairs)
  // Lanes that work side by side (a power of two): small batches are cut into 1, 2, 4, ... up to `spread` micro-batches of at
  // least `spread_rows` rows, large ones into a multiple of `spread`.
  int64_t spread = 1;
  int64_t spread_rows = 256;
  // Rows that neighbours share are packed once, where that saves an eighth of all rows or more. Sequences whose tokens before
  // the first trainable one are the same become neighbours. A row that goes through the head is nobody else's.
  bool share_prompts = false;
};

// Rows behind the last prediction are not packed; sequences without any are left out.
std::vector<MicroBatch> pack(std::span<const Sequence> sequences, const PackRules& rules);
// The same for bare token lists (last_token or every_token).
std::vector<MicroBatch> pack_tokens(std::span<const std::vector<int32_t>> sequences, const PackRules& rules);

}  // namespace r1
