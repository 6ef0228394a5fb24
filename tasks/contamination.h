// Whether a text to learn from holds what an evaluation asks: ten words in a row, as DeepSeek-R1's authors looked for it
// (arXiv 2501.12948, "Decontamination"). Words are runs of letters and digits, in lower case; a character of a script that
// writes no blanks between words is one. A question of fewer than ten words is met only by a text that is the same, blanks and
// case aside.
//
// Ten words that many questions of one evaluation share (more than one in twenty, and more than two) are how its questions are
// put - "put your final answer in" - and give nothing away: they do not count.
//
// Thread rule: built by one thread; any thread may call the const functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/hash.h"

namespace r1 {

constexpr size_t kGramWords = 10;
constexpr size_t kMostGrams = size_t{1} << 24;  // 16 bytes each while they are collected

class EvaluationGrams {
 public:
  // What one evaluation asks. Throws bad_input when all of them have more than kMostGrams grams.
  void add(const std::vector<std::string>& questions);
  // Whether one of the texts holds something of it.
  bool meet(const std::vector<std::string>& texts) const;

  bool empty() const { return grams_.empty() && whole_.empty(); }
  size_t size() const { return grams_.size() + whole_.size(); }
  // Equal hashes: they meet the same texts.
  Hash128 hash() const;

 private:
  std::unordered_set<uint64_t> grams_, whole_;  // of ten words; of questions with fewer
};

}  // namespace r1
