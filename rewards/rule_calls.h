// Rules that take arguments in a reward expression: repetition(3), copied(4), regex('^\d+$'), written_in('zh').
// Arguments are literal numbers and texts; a call is spelt canonically (rule_call_name) and is a variable of its expression.
// docs/rewards.md has every formula.
// Thread rule: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/reward_input.h"

namespace r1 {

// "regex", "repetition", ...
const std::vector<std::string>& rule_call_names();

// One line that says why "regex('(')" cannot be computed, or "". The call as the expression has it.
std::string rule_call_problem(std::string_view call);

// The value of "repetition(3)"; nullopt: not a call of a rule. Throws failure when the value cannot be computed: a pattern that
// takes more steps than kMatchLimit on this response, a pattern that regex() looks for among the facts and does not find.
std::optional<double> rule_call_value(std::string_view call, const RewardInput& in);

constexpr unsigned kMatchLimit = 200000, kMatchHeapKiB = 4096;

}  // namespace r1
