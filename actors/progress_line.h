// What a trainer says after each batch, in one line: "batch 12/40  reward .344  ...  1:20 left". Not the terminal's view, which
// reads the run store (tools/terminal/). Thread rule: pure.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace r1 {

struct ProgressFacts {
  int64_t batch = 0, limit = 0;         // limit: 0 where it is not known
  bool groups = false, pairs = false;   // what a batch is made of; else examples
  bool incomplete = false;              // some rewards could not be computed
  double tokens_per_s = 0, left_s = 0;  // 0: not measured, not known
};
// `stats`: of the batch, as in the run store.
std::string progress_line(const ProgressFacts& facts, const nlohmann::json& stats);

}  // namespace r1
