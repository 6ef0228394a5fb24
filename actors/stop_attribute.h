// The attribute `stop` of generators and evaluators: the texts that end a completion (models/generation/stop_texts.h).
// Thread rule: pure functions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/generation/stop_texts.h"
#include "runtime/graph/graph.h"

namespace r1 {

constexpr size_t kMostStopTexts = 16, kLongestStopText = 256;  // docs/limits.md

// One text as it stands ("</answer>"), or several in single quotes ("'</answer>', '\n\n'"). In both, \n, \t, \r, \\ and \' are
// what they are in C. Throws bad_input at `where`. "": none.
std::vector<std::string> parse_stop_texts(const std::string& attribute, const Where& where);

// Of a generator or an evaluator; null when it has none.
std::shared_ptr<const StopTexts> node_stop_texts(const NodePlan&, const Tokenizer&);

}  // namespace r1
