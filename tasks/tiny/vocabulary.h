// The words of the tiny world: 9 specials, 22 shared symbols, 53 English words and their 53 Chinese twins.
// Source: docs/recipe.md section 14.
// Thread rule: immutable tables.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace r1::tiny {

enum class Lang { en, zh };
inline Lang other(Lang lang) { return lang == Lang::en ? Lang::zh : Lang::en; }
inline const char* lang_name(Lang lang) { return lang == Lang::en ? "en" : "zh"; }

// All 137 in the order of their ids; specials as "<bos>", words without a space.
const std::vector<std::string>& vocabulary();

// The word for an English word in a language; symbols (digits, letters a..h, + - . :) are the same in both.
// Any other word is a broken invariant.
const std::string& say(std::string_view english, Lang lang);

// "zero".."nine" in a language.
const std::string& digit_word(int digit, Lang lang);

}  // namespace r1::tiny
