// One of the packed sequences that attention is computed of, as its offsets have it (kernels/ops.h, AttentionPacked).
// Thread rule: values.
#pragma once

#include <cstdint>

#include "kernels/ops.h"

namespace r1::cpu {

struct PackedSequence {
  int64_t first;    // row of k and v of its position 0
  int64_t query;    // the same of q and o, where there may be none: its queries stand at positions [skipped, length)
  int64_t skipped;  // positions without a query
  int64_t length;
  // Of a query and a key that it sees, about.
  double pairs() const {
    const auto until = [](int64_t n) { return static_cast<double>(n) * static_cast<double>(n + 15) / 2; };
    return until(length) - until(skipped);
  }
};

template <class Op>
PackedSequence packed_sequence(const Op& op, int64_t i) {
  const auto at = [](const View& offsets, int64_t s) -> int64_t { return reinterpret_cast<const int32_t*>(offsets.data)[s]; };
  const View& queries = op.query_offsets ? op.query_offsets : op.offsets;
  const int64_t first = at(op.offsets, i), length = at(op.offsets, i + 1) - first;
  const int64_t query = at(queries, i), skipped = length - (at(queries, i + 1) - query);
  return {first, query - skipped, skipped, length};
}

}  // namespace r1::cpu
