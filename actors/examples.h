// Text records as token sequences, the same for every role that makes them.
// Thread rule: pure functions.
#pragma once

#include <string>
#include <vector>

#include "models/sequence.h"
#include "models/tokenizer/tokenizer.h"
#include "tasks/source.h"

namespace r1 {

// Prompt, then completion; trainable: the completion, or with loss_on_prompt everything after the first token.
Sequence tokenise_example(const Tokenizer& tokenizer, const Example& example);
// What a reward model is shown of a response, in training, evaluation and judgement alike: all of it, or (sees=answer) what
// follows the thought.
std::string shown_response(const std::string& response, bool sees_answer);
// Appends two sequences, chosen first: prompt + shown response.
void append_pair(const Tokenizer& tokenizer, const Pair& pair, bool sees_answer, std::vector<Sequence>& to);

}  // namespace r1
