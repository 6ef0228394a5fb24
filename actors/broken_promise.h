// What is said when a promise is found broken: the run ends, and is not tried again. Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "models/training/logprob_gap.h"

namespace r1 {

// P2: the sampler and the trainer gave one token of (draw, sample), sampled under `version` of `stage`, different
// log-probabilities: gap.trainer and gap.sampler at gap.token. A final failure.
Error logprob_gap_error(const std::string& stage, int64_t version, int64_t draw, int64_t sample, const LogprobGap& gap);

}  // namespace r1
