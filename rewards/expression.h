// The arithmetic that combines rewards: "format * (accuracy + 0.2 + 0.2 * language)", parsed once, evaluated per completion.
//
//   expr    := sum [ ('<' | '<=' | '==' | '>=' | '>') sum ]          a comparison is 1 or 0
//   sum     := term { ('+' | '-') term }
//   term    := unary { ('*' | '/') unary }
//   unary   := '-' unary | number | name | name '(' expr { ',' expr } ')' | rule '(' [literal { ',' literal }] ')' | '(' expr
//   ')' literal := number | "'" text "'" | '"' text '"'          (a text has no escapes; the other quote may stand in it)
//   functions: min(a,b,...) max(a,b,...) abs(x) sigmoid(x) clamp(x,low,high) if(condition,then,else) overlong(x,max,cache)
//   rules with arguments (rule_calls.h): regex('PATTERN') repetition(N) copied(N) written_in('zh')
//   programs (program_calls.h): command('python3 my_reward.py') http('http://127.0.0.1:8000/score')
// overlong(length, max, cache), or overlong(max, cache) for the same, is DAPO's soft punishment (arXiv 2503.14476, eq. 13): 0
// up to max - cache tokens, falling linearly to -1 at max, -1 beyond; max and cache are numbers, 0 < cache <= max. Names are
// the rules and fact flags of rules.h and the models of the judge (their `as=` names). `if` evaluates only the branch it takes,
// so a model that only the other branch names need not be asked. Thread rule: immutable after parsing.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace r1 {

// A use of overlong(), for checks against what the generator may sample.
struct OverlongUse {
  double max = 0, cache = 0;
  Where where;
};

// Between which values a number lies, both included; infinite where nothing is known.
struct Bounds {
  double least = -std::numeric_limits<double>::infinity(), most = std::numeric_limits<double>::infinity();
};

class RewardExpression {
 public:
  // Throws bad_input; the place is `where` moved right by the offset in `text` (where.column: the column of its first
  // character).
  static RewardExpression parse(std::string_view text, const Where& where = {});

  // The names used, each once, in order of first use.
  const std::vector<std::string>& variables() const { return variables_; }
  const std::string& text() const { return text_; }
  const std::vector<OverlongUse>& overlongs() const { return overlongs_; }

  // What `value_of` throws for a value that is not there yet. evaluate() then asks for all else that it will need whatever that
  // value is - not for the branches of an `if` whose condition is pending - and throws Pending itself.
  struct Pending {};

  // `value_of(name)` gives a variable's value; it is asked only for what is needed, from left to right. Throws failure when the
  // result is not finite.
  double evaluate(const std::function<double(const std::string&)>& value_of) const;

  // Between which values the result lies, by interval arithmetic: never too narrow, sometimes too wide ("x + y - x"; of two
  // steps that are written alike it knows that they have one value: "x - x").
  Bounds bounds(const std::function<Bounds(const std::string& name)>& bounds_of) const;

  // Whether the result is one for all completions of a prompt, whatever they are: only names that the prompt gives
  // (`is_given`) can change it. Sometimes false where it is so.
  bool same_for_all(const std::function<Bounds(const std::string& name)>& bounds_of,
                    const std::function<bool(const std::string& name)>& is_given) const;

  struct Node;

 private:
  std::string text_;
  std::vector<std::string> variables_;
  std::vector<OverlongUse> overlongs_;
  std::shared_ptr<const Node> root_;
};

// Throws bad_input, with a suggestion, for a variable of `expression` that is not in `known`.
void check_variables(const RewardExpression& expression, const std::vector<std::string>& known, const Where& where = {});

}  // namespace r1
