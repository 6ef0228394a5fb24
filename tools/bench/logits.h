// What a stored model says about given tokens, as raw numbers for a comparison with other programs (tools/bench/peers). Not a
// benchmark, and not how text is generated.
// Thread rule: one thread a call.
#pragma once

#include <filesystem>
#include <iosfwd>

#include "models/weights.h"

namespace r1 {

// Each line of `in` is {"tokens": [ids]}, at least two of them. Appends to `out`, for each, the logits [n - 1, V] of tokens 1
// to n - 1 as f32, row after row - of a reward model one f32, the score of the whole sequence. The forward pass is the
// trainer's, in `dtype`. Returns the number of sequences. Throws bad_input for a line that is none of this, or tokens beyond
// the model.
int64_t write_logits(Device&, const std::filesystem::path& model, DType dtype, std::istream& in,
                     const std::filesystem::path& out);

}  // namespace r1
