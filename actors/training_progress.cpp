#include "actors/training_progress.h"

#include "actors/metric_table.h"

#include <nlohmann/json.hpp>

namespace r1 {

using nlohmann::json;

static int64_t count_of(const json& stats, const char* name) {
  const auto at = stats.find(name);
  return at != stats.end() && at->is_number() ? at->get<int64_t>() : 0;
}

void TrainingProgress::note(const json& stats) {
  ++batches_;
  // The statistics of a batch whose rewards could not all be computed are those of its luckier groups: in no window.
  incomplete_ = count_of(stats, "reward_errors") > 0;
  for (const auto& [name, value] : stats.items())
    if (value.is_number() && !incomplete_) series_[name].push_back(value.get<double>());
  tokens_ += count_of(stats, "tokens");
  trained_tokens_ += count_of(stats, "trained_tokens");
  examples_ += count_of(stats, "examples");
  examples_trained_ += count_of(stats, "examples_trained");
  const bool taught = count_of(stats, stats.contains("examples_trained") ? "examples_trained" : "trained_tokens") > 0;
  idle_ = taught ? 0 : idle_ + 1;
}

void TrainingProgress::note_held_out(const std::map<std::string, std::vector<double>>& series) {
  for (const auto& [name, values] : series) series_[kHeldOutPrefix + name] = values;
}

UntilInput TrainingProgress::until_input() const {
  UntilInput in;
  in.batches = batches_;
  if (planned_ > 0) in.epochs = static_cast<double>(batches_) * static_cast<double>(epochs_) / static_cast<double>(planned_);
  in.tokens = static_cast<double>(tokens_);
  in.incomplete = incomplete_;
  in.metric = [this](const std::string& name) {
    const auto it = series_.find(name);
    return it == series_.end() ? std::vector<double>() : it->second;
  };
  return in;
}

}  // namespace r1
