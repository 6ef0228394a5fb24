// A weight version on its way from trainer to generator: a difference to a version that the receiver holds, lossless in the
// precision that generators hold, sparse where few values change, the full bytes when that is smaller (docs/architecture.md
// section 3, "A weight version"). Cut into groups of chunks that are coded and applied side by side, by ops of the device that
// holds the weights, and packed for a link or a disk (docs/formats.md, "Version deltas"). Not how versions travel
// (actors/wire.h) nor who holds which (actors/weight_receiver.h). Thread rule: pure functions, but for the set applied to.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/delta_format.h"
#include "models/weights.h"

namespace r1 {

struct VersionDelta {
  int64_t from = -1;  // version it applies to; -1: none, a whole set
  int64_t to = 0;
  Hash128 hash;                     // WeightSet::hash() of the result
  ChangeSum change;                 // of all values; of a difference
  std::vector<std::string> frames;  // a head, then one for each group of chunks
  bool full() const { return from < 0; }
  size_t bytes() const;
};

// The hash under which `version` is published. Throws failure naming the tensor when a value is not a finite number.
Hash128 published_hash(const WeightSet& weights, int64_t version);
// `hash`: published_hash(next). `previous` may be null (full). Same config and dtype otherwise (CHECK).
VersionDelta encode_delta(const WeightSet* previous, int64_t from, const WeightSet& next, int64_t to, const Hash128& hash);
inline VersionDelta encode_delta(const WeightSet* previous, int64_t from, const WeightSet& next, int64_t to) {
  return encode_delta(previous, from, next, to, published_hash(next, to));
}

// `weights`, nobody else's, hold version delta.from (of a whole set: anything) and become delta.to. Throws failure when the
// bytes are malformed; when a whole set does not hash to delta.hash; when a difference moves the values by another change sum
// than it moved the sender's: so weights that held what was published as delta.from hold what was published as delta.to,
// without all of them being read. After a throw they hold anything.
void apply_delta(WeightSet& weights, const VersionDelta& delta);
// to = from, all bytes; sets of the same model and dtype, on any devices.
void copy_version(const WeightSet& from, WeightSet& to);
// The same with a new set, which is compared with delta.hash as a whole. previous: null for a whole set.
std::shared_ptr<WeightSet> apply_delta(const WeightSet* previous, const VersionDelta& delta, const ModelConfig&, Device&,
                                       DType);

}  // namespace r1
