// From tokens (lexer.h) to trees (tree.h): one tree for each item of an answer.
//   answer := item { (',' | ';' | and | or) item }
//   item   := relation [unit]
//   relation := sets { (= != < <= > >= \in) sets }        sets := ratio { (\cup | \cap | \setminus) ratio }
//   ratio  := sum { ':' sum }       sum := term { (+ | - | \pm) term }       term := factor { [* | /] factor }
// A fraction right after an integer is a mixed number. Nesting is limited, so any input ends soon.
// Thread rule: pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rewards/math/lexer.h"
#include "rewards/math/tree.h"

namespace r1::math {

struct Item {
  NodePtr value;
  std::string unit;  // canonical text; "" for none
  bool percent = false;
  char separator = ',';  // what stood before it: ',', '|' (or), '&' (and)
};

// nullopt: not mathematics as we read it.
std::optional<std::vector<Item>> parse_answer(const std::vector<Token>& tokens);

}  // namespace r1::math
