// Sets of real numbers as answers name them: intervals and their unions, inequalities in one unknown, {x | x > 2}, points.
// Thread rule: values and pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rewards/math/evaluate.h"
#include "rewards/math/number.h"
#include "rewards/math/parser.h"
#include "rewards/math/tree.h"

namespace r1::math {

struct Interval {
  std::optional<Number> low, high;  // nullopt: unbounded
  bool low_closed = false, high_closed = false;
};

struct RealSet {
  std::vector<Interval> parts;  // sorted and apart, once normalised
  std::string symbol;           // the unknown that the inequality names, if any
};

// Whether a tree says by its form that it is a set of reals: an interval with infinity or unlike brackets, an inequality, a
// union...
bool looks_like_real_set(const Node& node);
// nullopt: not such a set, or not one that we can solve.
std::optional<RealSet> real_set(const Node& node, Budget& budget);
// Of a whole answer: "x < 2 or x > 3", "1, 2".
std::optional<RealSet> real_set(const std::vector<Item>& items, Budget& budget);

// `decimals`: endpoints may differ as decimal fractions do (same_number of compare.h).
bool same_set(const RealSet& a, const RealSet& b, bool decimals);

}  // namespace r1::math
