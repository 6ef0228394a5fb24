// The knobs of the tiny world. Defaults are those of the measured prototype (docs/recipe.md section 14); a source's spec sets
// them: "tiny:pretrain?find=0.4&giveup_docs=0.5".
// Thread rule: a value.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace r1::tiny {

struct WorldOptions {
  // Which problems.
  double find = -1;       // share of `find`: of all documents in tiny:pretrain (default .32), of the reasoning elsewhere (.40)
  double general = .25;   // tiny:pretrain: share of general tasks among the documents that are not `find`
  double reasoning = .5;  // tiny:all_scenarios: share of reasoning prompts
  double find_min = 4;    // `find` has find_min, find_min+1 or find_min+2 numbers, with probabilities .40, .35, .25

  // How `find` is demonstrated (tiny:pretrain, tiny:cold_start).
  double giveup = .6;           // probability of giving up after a failed try
  double giveup_docs = 1;       // share of the documents in which giving up is possible at all
  double find_no_thought = .3;  // tiny:pretrain: share of `find` documents without a thought (and with a random answer)
  double verdict_first = 0;  // 1: "try x need y ok ." / "try x need y wait"; 0: "try x need y . ok ." / "try x need y . wait"

  // How messy the corpus is (tiny:pretrain).
  double error = .12;      // error probability per column or try, in the documents that err
  double error_docs = .5;  // share of the documents that err
  double clean = .30;      // share of the documents with the whole, right layout; the others keep their proportions
  double mixing = .6;      // share of the documents that switch language within

  // Supervised data (tiny:cold_start, tiny:general).
  double terse = .5;      // tiny:cold_start: share of terse thoughts among `compute`
  double courteous = .3;  // tiny:general: share of answers with the courtesy ending
  double refuse = .6;     // tiny:general: share of harmful requests that are refused
};

// Name, lowest and highest value of every knob, for specs and messages.
struct WorldKnob {
  const char* name;
  double WorldOptions::*field;
  double low, high;
};
const std::vector<WorldKnob>& world_knobs();

}  // namespace r1::tiny
