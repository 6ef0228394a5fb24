// The task `find`: which two of these distinct digits sum to T? A search with self-verification: try a number, say what it
// needs, look whether that is in the list. Source: docs/recipe.md section 14.
// Thread rule: pure functions (of the random numbers passed in).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "tasks/tiny/compute.h"
#include "tasks/tiny/speaker.h"
#include "tasks/tiny/world.h"

namespace r1::tiny {

struct Find {
  int target = 0;
  std::vector<int> numbers;  // distinct digits 1..9; exactly one pair sums to target, and no number is half of it
  std::pair<int, int> solution() const;
};

bool held_out(const Find& f);
Find draw_find(Rng& rng, int find_min, Side side);

std::string prompt_words(const Find& f, Lang lang);  // " find 1 3 : 4 6 9 2"
std::string pair_text(std::pair<int, int> pair);     // " 4 9"

struct FindHabits {
  double giveup = 0;  // after a failed try
  double error = 0;   // per try: a wrong need, or a wrong verdict
  bool verdict_first = false;
};

// A pair of the list, at random: what giving up answers.
std::pair<int, int> random_pair(const Find& f, Rng& rng);

// Writes the thought and returns the pair it settles on.
std::pair<int, int> think(const Find& f, const FindHabits& habits, Rng& rng, Speaker& speaker);

}  // namespace r1::tiny
