// The value of a tree at given values of its symbols.
// Thread rule: pure functions; a Budget belongs to one comparison.
#pragma once

#include <map>
#include <string>

#include "rewards/math/number.h"
#include "rewards/math/tree.h"

namespace r1::math {

// How much work a comparison may still do; everything is undefined, and nothing equal, once it is used up.
struct Budget {
  long steps = 20000;
  bool spend(long n) { return (steps -= n) > 0; }
};

struct Assignment {
  std::map<std::string, mpq_class> values;
  bool minus = false;  // which side of every \pm
};

Number evaluate(const Node& node, const Assignment& at, Budget& budget);

// What a tree holds.
struct Contents {
  std::map<std::string, int> symbols;  // free ones
  bool decimals = false;
  bool plus_minus = false;
  bool discrete = false;  // factorials, binomials: only integers will do
  bool scalar = true;     // no set, tuple, relation, text ... inside
  void look(const Node& node);
};

}  // namespace r1::math
