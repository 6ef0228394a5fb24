// What a reward program answers: a finite score or its own error, or nonsense that is named.
#include <cmath>

#include "rewards/score_protocol.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace r1;
  const std::string_view line = fuzz::text_of(data, size);
  says_ready(line);
  const ScoreAnswer answer = read_score_answer(line, 7);
  const bool scored = answer.result.score.has_value(), failed = !answer.result.error.empty(),
             nonsense = !answer.nonsense.empty();
  if (scored + failed + nonsense != 1) fuzz::finding("not one of score, error and nonsense");
  if (scored && !std::isfinite(*answer.result.score)) fuzz::finding("a score that is not finite");
  if (answer.result.parts.size() > kMostParts) fuzz::finding("more parts than there may be");
  for (const auto& [name, value] : answer.result.parts)
    if (!std::isfinite(value)) fuzz::finding("a part that is not finite: " + name);
  return 0;
}
