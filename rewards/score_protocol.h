// What r1 and a reward program say to each other: one JSON object each way (docs/rewards.md has the schema).
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "rewards/score_source.h"

namespace r1 {

constexpr size_t kLongestAnswer = size_t{1} << 20;  // bytes of an answer
constexpr size_t kMostParts = 64;

// One line, without its end.
std::string score_request(int64_t id, const ScoreItem& item);

struct ScoreAnswer {
  ScoreResult result;    // a score, or an error that the program said
  std::string nonsense;  // why it is no answer; "" when it is one
};
// `id`: of the request. An answer without an id is taken for it.
ScoreAnswer read_score_answer(std::string_view line, int64_t id);

// {"ready": true}: a program that has started says so, and its time limits begin.
bool says_ready(std::string_view line);

}  // namespace r1
