// The final answer in a mathematical text, and whether two answers are the same. The reading and comparing is in math/.
// Not a computer algebra system: see math/number.h and math/compare.h for what "the same" rests on.
// Time and memory are bounded for any input: extraction is linear, an answer beyond 4,096 bytes is compared as text only.
// Thread rule: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace r1 {

// In this order: the last \boxed{...} or \fbox{...} whose braces are balanced; the line after the last "####"; what follows the
// last "answer is" or "answer:" (any case; also in Chinese), to the end of the sentence; the last mathematical expression of
// the text, whole ("so we get 2\sqrt{3}." > 2\sqrt{3}); a text of a single word. Surrounding $, ** and final points are taken
// off.
std::optional<std::string> extract_math_answer(std::string_view text);

// Whether `answer` is the accepted answer. Not symmetric where forms matter: 5 is not accepted for 101_2, 101_2 is for 5.
bool math_equal(std::string_view answer, std::string_view accepted);

// Equal, and an answer: worked out where a number was asked for (94 + 41 is none for 135), and not what `question` says anyway
// (x^2 - 1 is none for (x-1)(x+1) where "Factor x^2 - 1" was asked; white space aside). What is spelled as the accepted answer
// is one, and so is a number, wherever else it is written.
bool math_accepts(std::string_view answer, std::string_view accepted, std::string_view question);

}  // namespace r1
