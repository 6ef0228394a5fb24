// Text records as token sequences, the same for every role that makes them.
// Thread rule: pure functions.
#pragma once

#include <vector>

#include "models/sequence.h"
#include "models/tokenizer/tokenizer.h"
#include "tasks/source.h"

namespace r1 {

// Prompt, then completion; trainable: the completion, or with loss_on_prompt everything after the first token.
Sequence tokenise_example(const Tokenizer& tokenizer, const Example& example);
// Appends two sequences, chosen first: prompt + response.
void append_pair(const Tokenizer& tokenizer, const Pair& pair, std::vector<Sequence>& to);

}  // namespace r1
