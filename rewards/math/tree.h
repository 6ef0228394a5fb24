// The tree that a mathematical answer is read into (parser.h), to be evaluated (evaluate.h) and compared (compare.h).
// Thread rule: values; a tree has one owner.
#pragma once

#include <gmpxx.h>

#include <memory>
#include <string>
#include <vector>

namespace r1::math {

enum class Kind {
  number,    // value, places
  based,     // value, base: 101_2
  symbol,    // name: x, x_1, \alpha
  constant,  // name: pi, e, i
  infinity,
  text,      // name: words
  add,       // kids
  multiply,  // kids
  divide,    // two kids
  power,     // two kids
  negate,
  plus_minus,  // kids[0] +- kids[1], or +- kids[0]; name is "-" for \mp
  call,        // name of number.h's call(); one kid
  log_base,    // base, argument
  root,        // degree, argument
  binomial,    // n, k
  apply,       // f(x), as a name for a value: name, kids
  percent,
  degree,
  bracket,    // (a, b), [a, b): open, close, kids (two or more)
  set,        // kids
  builder,    // {x | condition}: kids[0] is a symbol, kids[1] the condition
  matrix,     // rows, columns, kids by rows
  relation,   // kids and the operators between them: a < b <= c
  set_union,  // kids
  intersection,
  difference,  // of sets
  ratio,       // a : b : c
  reals,
  list,  // kids, in no order: "2 or 3" inside a condition
};

struct Node;
using NodePtr = std::unique_ptr<Node>;

enum class Operator { equal, not_equal, less, less_equal, greater, greater_equal, in };

struct Node {
  Kind kind = Kind::number;
  mpq_class value;
  int places = -1;  // digits after the point of a decimal number; -1: an integer
  long base = 10;
  std::string name;
  char open = 0, close = 0;
  size_t rows = 0, columns = 0;
  std::vector<Operator> operators;
  std::vector<NodePtr> kids;
};

}  // namespace r1::math
