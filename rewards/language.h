// Which language a text is in, by the script of its words: Latin words count as English, Han words as Chinese.
// Source: DeepSeek-R1 (arXiv 2501.12948v2) eq. 7: target-language words / all words. The paper does not define a word; here:
//  - a run of two or more Latin letters (apostrophes inside) is an English word; single letters belong to no language
//    (variables, list labels), nor does a LaTeX command (a run right after a backslash);
//  - a run of k Han characters is max(1, k/2) Chinese words (Chinese words are about two characters long);
//  - a run of two or more letters of any other script is a word of another language;
//  - digits, punctuation and symbols belong to none.
// For a text of separate words, as in the tiny world, that is one word each.
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string_view>

namespace r1 {

struct WordCounts {
  int64_t en = 0, zh = 0, other = 0;
  int64_t all() const { return en + zh + other; }
};

WordCounts count_words(std::string_view text);

// Share of `target` ("en" or "zh") among the words; 0 when there are none, or for another target.
double language_share(std::string_view text, std::string_view target);

}  // namespace r1
