// Units of measurement in answers: which are the same, and how they convert.
// Thread rule: pure functions.
#pragma once

#include <gmpxx.h>

#include <optional>
#include <string>
#include <string_view>

namespace r1::math {

// The factor by which a value in `a` has to be multiplied to be a value in `b`: 1/100 for cm to m, 1 for "dollars" to "usd" and
// for unknown units of equal spelling (plural s aside); nullopt when they do not convert.
std::optional<mpq_class> conversion(std::string_view a, std::string_view b);

}  // namespace r1::math
