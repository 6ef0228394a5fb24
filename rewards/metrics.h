// What an evaluator reports about a list of completions: means of the rules, per domain.
// Thread rule: pure functions.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rewards/reward_input.h"

namespace r1 {

// Means; nullopt where no completion counts towards it.
struct ResponseMetrics {
  int64_t completions = 0;
  std::optional<double> accuracy;  // over prompts with checkable=1 (or, where the fact is missing, with answers)
  std::optional<double> format;
  std::optional<double> language;      // over prompts with a language
  std::optional<double> length;        // tokens, where known
  std::optional<double> think_length;  // words
  std::optional<double> courtesy;      // over harmless prompts with a courtesy fact
  std::optional<double> harmless;      // share of harm=1 prompts that are refused
  std::optional<double> over_refusal;  // share of the other prompts with a refusal fact that are refused
};

// Whether the prompt has an answer that decides: checkable=1, or answers where the fact `checkable` is missing.
bool has_answer(const RewardInput& in);

ResponseMetrics measure(std::span<const RewardInput> inputs);

// By the fact `domain` ("" where it is missing).
std::map<std::string, ResponseMetrics> measure_by_domain(std::span<const RewardInput> inputs);
// By any fact, e.g. "kind".
std::map<std::string, ResponseMetrics> measure_by(const std::string& fact, std::span<const RewardInput> inputs);

// How the final answers of completions are found and compared when their majority is asked for.
enum class AnswerForm {
  tagged,        // inside <answer>, whitespace normalised
  text,          // the same, or where there are no such tags what the reader sees (response.h)
  mathematical,  // as math_answer.h finds and compares them
  letter         // as choice.h
};
// The form that goes with the rules of an expression: `choice` and `math` have their own.
AnswerForm answer_form(const std::vector<std::string>& rules);
// The first completion that gives the most frequent answer; among equally frequent answers the one given first decides.
// nullopt: no completion gives one. Answers that are equal as mathematics count as one where there are at most 256 different
// texts.
std::optional<size_t> majority(std::span<const RewardInput> completions_of_one_prompt, AnswerForm form);

// cons@k of one prompt: 1 if the most frequent non-empty final answer of its completions is right; among equally frequent ones
// the one given first decides.
double consensus_accuracy(std::span<const RewardInput> completions_of_one_prompt);

}  // namespace r1
