// The task `compute`: adding and subtracting numbers of 1 to 4 digits, and thoughts about it: terse guesses, column arithmetic,
// column arithmetic with a check. Source: docs/recipe.md section 14.
// Thread rule: pure functions (of the random numbers passed in).
#pragma once

#include <array>
#include <string>

#include "base/rng.h"
#include "tasks/tiny/speaker.h"
#include "tasks/tiny/vocabulary.h"

namespace r1::tiny {

enum class Side { train, held_out, any };  // which part of the problems to draw from

struct Compute {
  int digits = 1;  // of both operands
  int a = 0, b = 0;
  bool minus = false;  // then a >= b
  int result() const { return minus ? a - b : a + b; }
};

// Problems of more than one digit whose hash is 0 modulo 8 are for tests only.
bool held_out(const Compute& c);

// weights[i]: relative frequency of i+1 digits. Side::held_out never gives one-digit problems.
Compute draw_compute(Rng& rng, const std::array<double, 4>& weights, Side side);

std::string prompt_words(const Compute& c, Lang lang);  // " compute 4 7 + 3 8"
std::string digits_text(int n);                         // 857 -> " 8 5 7"

enum class ComputeStyle { none, terse, columns, check };

struct ComputeErrors {
  double column = 0;  // probability of a wrong column
  double repair = 1;  // ... that is put right at once ("wait"); otherwise the error is carried on
};

// Writes the thought (nothing for `none`) and returns the result it arrives at: the right one unless an error was carried on.
int think(const Compute& c, ComputeStyle style, const ComputeErrors& errors, Rng& rng, Speaker& speaker);

}  // namespace r1::tiny
