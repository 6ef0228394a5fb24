// The final answer in a mathematical text, and whether two answers are the same.
// Source: deepseek-ai/DeepSeek-Math evaluation/data_processing/answer_extraction.py as summarised in r1_facts.md A3. Not a
// computer algebra system: answers compare as numbers (fractions and percentages included) or as normalised LaTeX text.
// Thread rule: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace r1 {

// The last brace-balanced \boxed{...}, else the text after the last "answer is" (to the end of the sentence), else the last
// number.
std::optional<std::string> extract_math_answer(std::string_view text);

std::string normalize_math(std::string_view answer);

bool math_equal(std::string_view a, std::string_view b);

}  // namespace r1
