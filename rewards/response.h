// The parts of a response: <think> thought </think> <answer> answer </answer> and the end token.
// Not a reward: rules.h judges, this only takes apart.
// Thread rule: pure functions. Views point into what was passed in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rewards/reward_input.h"

namespace r1 {

struct ResponseParts {
  std::string_view thought;  // between the tags, trimmed; "" when there is none
  std::string_view answer;   // likewise; "" unless there is exactly one <answer> and one </answer> after it
  bool exact_tags = false;   // each of the four tags once, in order, nothing but whitespace around them
};

// A prompt that ends with "<think>" (DeepSeek-R1's template) has opened the thought: the response then starts inside it.
// A thought that is never closed reaches up to <answer> or the end. A trailing end token of a known family is set aside.
ResponseParts parse_response(std::string_view prompt, std::string_view response);

// What the reader of the response sees: the text inside <answer>, else what follows the last </think>, else everything;
// end token and outer whitespace removed. The helpful reward model scores this.
std::string final_answer(std::string_view response);

// The response without its thought, other tags and end token kept ("<answer> a b</answer><eos>"): the same as text to tokenise.
std::string without_thought(std::string_view response);

// Outer whitespace removed, inner runs of whitespace made one space.
std::string normalize_space(std::string_view text);

// `text` without the end token of a known family and the whitespace before it.
std::string_view strip_end_token(std::string_view text);

std::string_view trim(std::string_view text);

// The accepted answers in a fact "a|b\|c": {"a", "b|c"}.
std::vector<std::string> split_answers(std::string_view answers);

// Number of times `part` occurs (not overlapping).
int count_of(std::string_view text, std::string_view part);

}  // namespace r1
