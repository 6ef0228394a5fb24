// Whole records of the tiny world: prompts with their facts, pre-training documents, supervised examples, preference pairs.
// Source: docs/recipe.md section 14.
// Thread rule: pure functions (of the random numbers passed in).
#pragma once

#include <string>

#include "base/rng.h"
#include "tasks/source.h"
#include "tasks/tiny/compute.h"
#include "tasks/tiny/find.h"
#include "tasks/tiny/general.h"
#include "tasks/tiny/world.h"

namespace r1::tiny {

std::string prompt_text(const std::string& words);       // "<bos><user> WORDS<asst>"
std::string prompt_words_of(const std::string& prompt);  // the other way: "WORDS"
// "<think> THOUGHT</think><answer> ANSWER</answer><eos>"; both with leading spaces.
std::string response_text(const std::string& thought, const std::string& answer);

Prompt compute_prompt(const Compute& c, Lang lang);
Prompt find_prompt(const Find& f, Lang lang);
Prompt general_prompt(const General& g, Lang lang);

// The prompts of reasoning RL (or its test), and of the general tasks.
Prompt reasoning_prompt(Rng& rng, const WorldOptions& o, Side side);
Prompt general_prompt(Rng& rng, Side side);

Example pretrain_document(Rng& rng, const WorldOptions& o);
Example cold_start_example(Rng& rng, const WorldOptions& o);
Example general_example(Rng& rng, const WorldOptions& o);

Pair helpful_pair(Rng& rng, Side side);
Pair harmless_pair(Rng& rng, Side side);

}  // namespace r1::tiny
