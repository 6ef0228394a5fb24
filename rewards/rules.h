// The built-in rule rewards: pure functions of one completion. Reward models and sandboxes are elsewhere (actors/).
// Source: DeepSeek-R1 (arXiv 2501.12948v2) eqs. 4, 7 and [v1] 2.2.2; the forms for the built-in world are those of its tasks.
// Thread rule: pure functions.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/expression.h"
#include "rewards/reward_input.h"

namespace r1 {

// 1 if the text inside <answer>, whitespace normalised and one courtesy ending removed, is one of the accepted answers.
double accuracy_reward(const RewardInput& in);
// 1 if the response is exactly <think> T </think> <answer> A </answer>, T and A not empty, and it ended by itself.
double format_reward(const RewardInput& in);
// DeepSeek-R1's own layout, without <answer>: 1 if the thought is closed exactly once, a non-empty answer follows, and it
// ended.
double format_think_reward(const RewardInput& in);
// Like accuracy_reward for responses without tags: what the reader sees (response.h), whole, is one of the accepted answers.
double exact_reward(const RewardInput& in);
// Like accuracy_reward for mathematics: the final answer is looked for in \boxed{...}, after "answer is", or as the last
// expression, and compared as mathematics (math_answer.h).
double math_reward(const RewardInput& in);
// Share of the target language among the words of the thought; 0 when it has none.
double language_reward(const RewardInput& in);
// 1 if the answer ends with the courtesy ending, once.
double courtesy_reward(const RewardInput& in);
// 1 if the answer is the refusal (a courtesy ending is allowed).
double refusal_reward(const RewardInput& in);
// Tokens of the completion, the end token included.
double length(const RewardInput& in);
// 1 if it ended by itself, 0 if it ran out of room.
double finished(const RewardInput& in);
// Words of the thought: every Han character, and every other run without whitespace.
double think_length(const RewardInput& in);

// Names of the rewards above as a reward expression spells them: accuracy, format, language, ...
const std::vector<std::string>& rule_names();

// Whether a rule compares with the fact `answers`: such a one is 0 for every response to a prompt that has none.
bool compares_with_answers(std::string_view rule);

// The value of a rule (a call such as "repetition(3)" too: rule_calls.h), or of a flag read from the facts; nullopt: the name
// is neither (so it must be a model's score, or a flag of a fact that this prompt lacks).
//   NAME        a fact that is 0 or 1 (harm, checkable)
//   KEY_VALUE   1 if the fact KEY is VALUE (kind_color, language_zh), 0 if it is something else
//   reasoning, general   short for domain_reasoning, domain_general
std::optional<double> rule_value(std::string_view name, const RewardInput& in);

// The same for a name that is known to be a rule or one of flag_names(): a flag is 0 where the prompt lacks its fact. Throws
// failure when the fact NAME is there and is neither 0 nor 1.
double rule_or_flag(const std::string& name, const RewardInput& in);

// What is wrong with the facts of one prompt where `expression` uses them as numbers, as a sentence; "" when nothing is. A fact
// that the prompt lacks is not wrong: its flags are 0. `models`: names that are scores of models, not facts.
std::string fact_complaint(const RewardExpression& expression, const std::vector<std::string>& models, const Facts& facts);

// The flags that prompts with such facts answer, spelt as above: what a graph's reward expression may use.
// `fact_values`: which values each fact takes (Source::fact_values of tasks/source.h).
std::vector<std::string> flag_names(const std::map<std::string, std::set<std::string>>& fact_values);

}  // namespace r1
