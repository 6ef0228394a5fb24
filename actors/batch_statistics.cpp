#include "actors/batch_statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace r1 {

void CompletionStatistics::add(const SampleScore& score, int64_t tokens) {
  ++completions_;
  length_.add(static_cast<double>(tokens));
  Mean& reward = means_["reward"];
  if (score.reward) reward.add(*score.reward);
  for (const auto& [name, value] : score.parts) means_[name].add(value);
}

void CompletionStatistics::add_age(int64_t versions) {
  age_.add(static_cast<double>(versions));
  age_max_ = std::max(age_max_, versions);
}

void CompletionStatistics::add_group(const std::string& dropped) {
  ++(dropped.empty() ? kept_ : dropped_);
  errors_ += dropped == "reward_error";
}

nlohmann::json CompletionStatistics::json() const {
  nlohmann::json stats, missing;
  for (const auto& [name, mean] : means_) {
    if (mean.count > 0) stats[name] = mean.value();
    if (mean.count < completions_) missing[name] = completions_ - mean.count;
  }
  if (!missing.is_null()) stats["missing"] = std::move(missing);
  if (length_.count > 0) stats["length"] = length_.value();
  if (age_.count > 0) {
    stats["age"] = age_.value();
    stats["age_max"] = age_max_;
  }
  stats["completions"] = completions_;
  stats["kept"] = kept_;
  stats["dropped"] = dropped_;
  stats["reward_errors"] = errors_;
  return stats;
}

namespace {

// Shares of the experts by layer, the most loaded one's share times their number, the spread of the selection bias.
void note_experts(const TrainStats& r, nlohmann::json& stats) {
  nlohmann::json layers = nlohmann::json::array();
  double most = 0;
  for (const std::vector<double>& layer : r.expert_load) {
    nlohmann::json shares = nlohmann::json::array();
    for (double share : layer) {
      shares.push_back(std::round(share * 1e4) / 1e4);
      most = std::max(most, share * static_cast<double>(layer.size()));
    }
    layers.push_back(std::move(shares));
  }
  stats["expert_load"] = std::move(layers);
  stats["expert_load_max"] = most;
  stats["expert_bias_spread"] = r.expert_bias_spread;
  stats["balance_loss"] = r.balance_loss;
}

}  // namespace

nlohmann::json with_training(nlohmann::json stats, const TrainStats& r, const TrainingMeasures& measures) {
  stats["trained_tokens"] = r.trained_tokens;
  stats["optimizer_steps"] = r.optimizer_steps;
  const bool grpo = measures.objective == Objective::grpo;
  if (grpo) stats["logprob_gap_tokens"] = r.logprob_gap.tokens;
  if (grpo && r.logprob_gap.tokens > 0) stats["logprob_gap_max"] = r.logprob_gap.max;
  if (r.optimizer_steps == 0) return stats;
  stats["loss"] = r.loss;
  stats["grad_norm"] = r.grad_norm;
  stats["lr"] = r.lr;
  if (grpo) {
    if (measures.reference) stats["kl"] = r.kl;
    stats["entropy"] = r.entropy;
    stats["clip_fraction"] = r.clip_fraction;
    stats["ratio"] = r.ratio_mean;
  }
  if (measures.objective == Objective::reward_model) stats["pair_accuracy"] = r.pair_accuracy;
  if (!r.expert_load.empty()) note_experts(r, stats);
  if (measures.mtp) {
    stats["mtp_loss"] = r.mtp_loss;
    stats["mtp_accuracy"] = r.mtp_accuracy;
  }
  return stats;
}

std::string shown(const nlohmann::json& stats, const std::string& name, int digits) {
  const auto value = stats.find(name);
  if (value == stats.end() || !value->is_number()) return "-";
  return fmt::format("{:.{}f}", value->get<double>(), digits);
}

}  // namespace r1
