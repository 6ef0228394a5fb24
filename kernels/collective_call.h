// A call of a collective as all ranks must make it. Internal to the implementations of kernels/collective.h.
// Thread rule: values.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "kernels/collective.h"

namespace r1 {

struct CollectiveCall {
  const char* name = "";
  View x;
  std::vector<ElementRange> ranges;
  int64_t root = 0;

  // The same for all ranks; the ends of ranges among it.
  std::string str() const {
    std::string s = fmt::format("{} of {}", name, x.str());
    for (const ElementRange& r : ranges) s += fmt::format(" [{}, {})", r.begin, r.end);
    return std::string_view(name) == "broadcast" ? s + fmt::format(" from rank {}", root) : s;
  }
  // What no caller may do, whatever the others do.
  void check(int64_t ranks) const {
    R1_CHECK(x && x.rank == 1 && x.contiguous(), str());
    R1_CHECK(x.dtype == DType::f32 || std::string_view(name).find("reduce") == std::string_view::npos, str());
    R1_CHECK(0 <= root && root < ranks, str());
    if (ranges.empty()) return;
    R1_CHECK(static_cast<int64_t>(ranges.size()) == ranks, str());
    for (const ElementRange& r : ranges) {
      R1_CHECK(0 <= r.begin && r.begin <= r.end && r.end <= x.size(), str());
      for (const ElementRange& o : ranges) R1_CHECK(&o == &r || o.end <= r.begin || r.end <= o.begin, str());
    }
  }
};

}  // namespace r1
