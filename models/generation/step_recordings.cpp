#include "models/generation/step_recordings.h"

#include <algorithm>
#include <iterator>

namespace r1 {

namespace {

constexpr int64_t kRows[] = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256};
// Of so many keys most have weights or a cache that are gone.
constexpr size_t kMaxSteps = 4 * std::size(kRows);

}  // namespace

int64_t StepRecordings::filled(int64_t rows) {
  const auto* const at = std::lower_bound(std::begin(kRows), std::end(kRows), rows);
  return at == std::end(kRows) ? 0 : *at;
}

View StepRecordings::run(Context& ctx, const Key& key, const std::function<View()>& issue) {
  const auto at = steps_.find(key);
  if (at == steps_.end()) {
    if (steps_.size() >= kMaxSteps) steps_.clear();
    return steps_[key].result = issue();
  }
  Step& step = at->second;
  if (step.recording != nullptr) {
    step.recording->run();
    ++replayed_;
  } else {
    step.recording = ctx.device->record(ctx, [&] { step.result = issue(); });
  }
  return step.result;
}

}  // namespace r1
