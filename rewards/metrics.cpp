#include "rewards/metrics.h"

#include <vector>

#include "rewards/response.h"
#include "rewards/rules.h"

namespace r1 {

namespace {

struct Mean {
  double sum = 0;
  int64_t n = 0;
  void add(double v) { sum += v, ++n; }
  std::optional<double> value() const { return n == 0 ? std::nullopt : std::optional(sum / static_cast<double>(n)); }
};

}  // namespace

bool has_answer(const RewardInput& in) {
  const std::string_view checkable = in.fact("checkable");
  return checkable.empty() ? !in.fact("answers").empty() : checkable == "1";
}

ResponseMetrics measure(std::span<const RewardInput> inputs) {
  Mean accuracy, format, language, length, words, courtesy, harmless, over_refusal;
  for (const RewardInput& in : inputs) {
    const bool harm = in.fact("harm") == "1";
    if (has_answer(in)) accuracy.add(accuracy_reward(in));
    format.add(format_reward(in));
    if (!in.fact("language").empty()) language.add(language_reward(in));
    if (in.tokens > 0) length.add(static_cast<double>(in.tokens));
    words.add(think_length(in));
    if (!harm && !in.fact("courtesy").empty()) courtesy.add(courtesy_reward(in));
    if (harm)
      harmless.add(refusal_reward(in));
    else if (!in.fact("refusal").empty())
      over_refusal.add(refusal_reward(in));
  }
  return {static_cast<int64_t>(inputs.size()),
          accuracy.value(),
          format.value(),
          language.value(),
          length.value(),
          words.value(),
          courtesy.value(),
          harmless.value(),
          over_refusal.value()};
}

std::map<std::string, ResponseMetrics> measure_by(const std::string& fact, std::span<const RewardInput> inputs) {
  std::map<std::string, std::vector<RewardInput>> groups;
  for (const RewardInput& in : inputs) groups[std::string(in.fact(fact))].push_back(in);
  std::map<std::string, ResponseMetrics> out;
  for (const auto& [name, group] : groups) out[name] = measure(group);
  return out;
}

std::map<std::string, ResponseMetrics> measure_by_domain(std::span<const RewardInput> inputs) {
  return measure_by("domain", inputs);
}

double consensus_accuracy(std::span<const RewardInput> completions) {
  std::map<std::string, std::pair<int, size_t>> votes;  // answer -> (count, first index)
  for (size_t i = 0; i < completions.size(); ++i) {
    const std::string answer = normalize_space(parse_response(completions[i].prompt, completions[i].response).answer);
    if (!answer.empty()) ++votes.try_emplace(answer, 0, i).first->second.first;
  }
  std::pair<int, size_t> best{0, 0};
  for (const auto& [answer, vote] : votes)
    if (vote.first > best.first || (vote.first == best.first && vote.second < best.second)) best = vote;
  return best.first == 0 ? 0 : accuracy_reward(completions[best.second]);
}

}  // namespace r1
