// Whether stored values are numbers: NaN and infinity are found where bytes are read, written or hashed, and named.
//
// Not a check of activations: the log-sum-exp does that (a row of logits that is not finite has log-probabilities of NaN).
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace r1 {

// What was trained or sampled is not finite any more: a failure that a smaller learning rate may mend.
class NotFinite final : public Error {
 public:
  explicit NotFinite(std::string what, std::string hint = {}) : Error(ExitCode::failed, std::move(what), {}, std::move(hint)) {}
};

// The index of the first of `n` values at `data` (any alignment) whose exponent is all ones: infinity or NaN. -1: none.
// dtype: "F32", "BF16" or "F16"; of any other type every value is finite. At memory speed.
int64_t first_not_finite(const void* data, int64_t n, std::string_view dtype);

// "tensor 'model.norm.weight' holds nan at [3]": value `index` of a row-major tensor, whose bytes are at `value`, in words.
std::string not_finite_text(std::string_view tensor, const std::vector<int64_t>& shape, int64_t index, const void* value,
                            std::string_view dtype);

}  // namespace r1
