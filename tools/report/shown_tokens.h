// What a model wrote, token by token, as people are shown it: with the probability that each token was sampled with. Pages and
// terminals draw it in their ways. Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/sequence.h"
#include "models/tokenizer/tokenizer.h"

namespace r1::report {

// Tokens before the first that the model wrote.
size_t prompt_length(const Sequence& sequence);

struct ShownToken {
  std::string text;
  std::optional<double> probability;  // absent: it was not noted
  int64_t version = -1;               // of the weights that it was sampled with; -1: it was not noted
};
// From the first that the model wrote. Tokens that are parts of one character are shown as one; the least likely counts.
std::vector<ShownToken> shown_tokens(const Sequence& sequence, const Tokenizer& tokenizer);

// How a probability is shown: 0 for at least 0.9, then 0.6, 0.3 and 0.1, and 4 for what is below.
constexpr double kShades[] = {0.9, 0.6, 0.3, 0.1};
int shade_of(double probability);

struct Versions {
  int64_t oldest = -1, newest = -1;  // -1: none was noted
};
Versions versions_of(const Sequence& sequence);

}  // namespace r1::report
