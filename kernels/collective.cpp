#include "kernels/collective.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace r1 {

std::vector<ElementRange> equal_ranges(int64_t n, int64_t ranks, int64_t unit) {
  R1_CHECK(n >= 0 && ranks >= 1 && unit >= 1, fmt::format("{} elements, {} ranks, units of {}", n, ranks, unit));
  std::vector<ElementRange> out;
  const int64_t units = (n + unit - 1) / unit;
  for (int64_t r = 0; r < ranks; ++r)
    out.push_back({std::min(n, units * r / ranks * unit), std::min(n, units * (r + 1) / ranks * unit)});
  return out;
}

}  // namespace r1
