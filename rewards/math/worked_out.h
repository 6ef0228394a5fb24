// Whether an answer was worked out. "94 + 41" equals 135 and answers nothing: a policy that is paid for it learns to repeat the
// question. Not equality (compare.h).
// Thread rule: pure functions.
#pragma once

#include <vector>

#include "rewards/math/parser.h"

namespace r1::math {

// Whether `accepted` is a plain number - an integer, a decimal, a fraction, a mixed number, m * 10^n - and what `answer` says
// is sums and products of numbers that are still to be computed. Fractions need not be in lowest terms, and what has a power, a
// root or a function in it counts as worked out: so are large and irrational numbers written.
bool left_to_compute(const std::vector<Item>& answer, const std::vector<Item>& accepted);

// Whether there is something to compute or to transform in `answer` at all: an operator, a function, an equation. A number (a
// fraction where no integer is accepted), a word, a tuple or a set may be the answer wherever else it is written.
bool has_operation(const std::vector<Item>& answer, const std::vector<Item>& accepted);

}  // namespace r1::math
