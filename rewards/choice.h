// Multiple choice: which letter a response chooses.
// Thread rule: pure functions.
#pragma once

#include <optional>
#include <string_view>
#include <vector>
#include <string>

#include "rewards/reward_input.h"

namespace r1 {

// 'A' to 'Z', from the final answer (math_answer.h says where it is looked for): "B", "(B)", "B.", "b)", "**B**", "\text{(B)}",
// "Answer: b", "B) because", or the text of one of `options` (the first is A). nullopt: none, or not one only.
std::optional<char> chosen_letter(std::string_view response, const std::vector<std::string>& options);

// 1 if the letter chosen is that of an accepted answer (the fact `answers`: letters, or texts of the fact `options`,
// "red|green|blue").
double choice_reward(const RewardInput& in);

}  // namespace r1
