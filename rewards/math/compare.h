// Whether two parsed answers are the same answer. The second is the accepted one: it decides the form where forms matter (a
// base).
//
// Numbers: exactly where both are written without decimals; see same_number where one is a decimal. With symbols: at fixed
// pseudo-random rational points, in exact arithmetic as far as the operations allow; every point at which both are defined must
// agree, and a point where only one is defined tells them apart.
// Lists and sets compare without order, tuples with; equations up to a factor; inequalities and intervals as sets of reals.
// Bounded: a comparison that has used up its budget says that the answers differ.
// Thread rule: pure functions.
#pragma once

#include <vector>

#include "rewards/math/number.h"
#include "rewards/math/parser.h"

namespace r1::math {

constexpr double kTolerance = 1e-9;

// `decimals`: one of them was written as a decimal fraction: then they may be kTolerance apart, relative to the larger and
// absolutely - unless one has no finite decimal form, when being relatively so near is enough. `places`: digits after the point
// of the decimal, when known (-1: not): then it is also no further off than one in its last digit.
bool same_number(const Number& a, const Number& b, bool decimals, int places = -1);

bool same_answer(const std::vector<Item>& answer, const std::vector<Item>& accepted);

}  // namespace r1::math
