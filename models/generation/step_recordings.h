// Decode steps as recordings (Device::record): a step of a model is hundreds of ops, and what a card does in each is shorter
// than what the host needs to issue it. Only for devices that say so (Device::recordings_pay).
//
// A recording holds addresses and shapes, so a step is done again by it only where both are the same: its rows are filled up to
// one of a few numbers (by copies of the last one, which write what that one writes), and the key says what else it depends on.
// The first step of a key is issued as it is, for the arena to grow; the second one is recorded. Thread rule: one thread at a
// time.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "kernels/device.h"

namespace r1 {

class StepRecordings {
 public:
  struct Key {
    int64_t rows = 0;
    const std::byte *weights = nullptr, *inputs = nullptr;
    int64_t cache = 0;  // KvCache::generation
    int top_k = 0;
    float top_p = 1;
    auto operator<=>(const Key&) const = default;
  };

  // How many rows a step of so many is filled up to; 0: it has so many that it is not worth recording.
  static int64_t filled(int64_t rows);

  // Issues a step, by its recording where there is one.  issue: issues its ops, and returns where its result will be.
  View run(Context& ctx, const Key& key, const std::function<View()>& issue);
  // Steps that were issued by a recording.
  int64_t replayed() const { return replayed_; }

 private:
  struct Step {
    View result;
    std::unique_ptr<Recording> recording;
  };
  std::map<Key, Step> steps_;
  int64_t replayed_ = 0;
};

}  // namespace r1
