// When a stage ends: `until="plateau(reward, 20, 0.005, 80) or batches(160)"`. A function of committed ledger rows only.
//
//   condition := term { "or" term } ;  term := factor { "and" factor } ;  factor := "(" condition ")" | call
//   call := batches(N) | epochs(N) | tokens(N) | plateau(METRIC, WINDOW, EPSILON [, MIN_BATCHES]) | above(METRIC, VALUE [,
//   WINDOW])
//         | below(METRIC, VALUE [, WINDOW])
// plateau: mean of the metric over the last WINDOW batches minus the mean over the WINDOW before is below EPSILON, checked from
// batch max(2 WINDOW, MIN_BATCHES). above, below: the mean over the last WINDOW (1) recorded values is strictly above or below
// VALUE; false while there are fewer. Batches that lack the metric are in no window, and a condition on a metric is false while
// the newest batch is not to be trusted (UntilInput). N is a positive number, an integer for batches; WINDOW and MIN_BATCHES
// are positive integers; "and" binds tighter than "or". Thread rule: immutable after parsing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"

namespace r1 {

struct UntilInput {
  int64_t batches = 0;  // committed so far
  double epochs = 0, tokens = 0;
  // The metric's value per committed batch, oldest first (size = batches, or fewer when it was not recorded).
  std::function<std::vector<double>(const std::string&)> metric;
  // The newest batch lacks rewards that could not be computed: conditions on metrics are false, counts are not.
  bool incomplete = false;
};

// What conditions may name.
struct UntilNames {
  std::vector<std::string> metrics;
  std::string no_epochs;  // why epochs(N) has no meaning here; "" where it has one
};

// One call of a condition.
struct UntilCall {
  enum class Kind { batches, epochs, tokens, plateau, above, below };
  Kind kind = Kind::batches;
  std::string text;    // "plateau(reward, 20, 0.005)"
  std::string metric;  // "" of the first three
  double value = 0;    // N, EPSILON or VALUE
  int64_t window = 1, min_batches = 0;
};

class Until {
 public:
  // Throws bad_input at `where` (columns inside the text are named in the message).
  static Until parse(const std::string& text, const Where& where, const UntilNames& names);
  bool reached(const UntilInput&) const;
  std::string why(const UntilInput&) const;  // "batches(160)" - which call was true; "" when none
  // The above() or below() that was true and made it end: a goal that was met, not a limit that was reached. "" when none.
  std::string goal(const UntilInput&) const;
  // The largest number of batches it can last, if it has a batches(N) at the top level of an "or"; else 0 (for progress bars).
  int64_t batch_limit() const;
  std::vector<UntilCall> calls() const;      // as they stand in the text
  std::vector<std::string> metrics() const;  // the names that its conditions use, each once
  Until(const Until&);
  Until& operator=(const Until&);
  ~Until();

 private:
  struct Node;
  std::shared_ptr<const Node> root_;
  explicit Until(std::shared_ptr<const Node>);
};

}  // namespace r1
