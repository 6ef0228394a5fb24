// A weight version on its way from trainer to generator: a delta against the previous version, lossless in the precision that
// generators hold, sparse where few values change, the full bytes when that is smaller (docs/architecture.md section 3, "A
// weight version"). Byte-level format, see docs/formats.md, made and applied by ops of the device that holds the weights; a
// receiver applies it to a shadow copy and checks the hash. Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "models/weights.h"

namespace r1 {

struct VersionDelta {
  int64_t from = -1;  // version it applies to; -1: a full snapshot
  int64_t to = 0;
  Hash128 hash;       // WeightSet::hash() of the result
  std::string bytes;  // encoded
  bool full() const { return from < 0; }
};

// The hash under which `version` is published. Throws failure naming the tensor when a value is not a finite number.
Hash128 published_hash(const WeightSet& weights, int64_t version);
// `hash`: published_hash(next). `previous` may be null (full). Same config and dtype otherwise (CHECK).
VersionDelta encode_delta(const WeightSet* previous, int64_t from, const WeightSet& next, int64_t to, const Hash128& hash);
inline VersionDelta encode_delta(const WeightSet* previous, int64_t from, const WeightSet& next, int64_t to) {
  return encode_delta(previous, from, next, to, published_hash(next, to));
}
// A new WeightSet. Throws failure when the bytes are malformed or the result's hash is not `delta.hash`.
std::shared_ptr<WeightSet> apply_delta(const WeightSet* previous, const VersionDelta& delta, const ModelConfig&, Device&,
                                       DType);

}  // namespace r1
