#include "rewards/metrics.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "rewards/choice.h"
#include "rewards/math_answer.h"
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

AnswerForm answer_form(const std::vector<std::string>& rules) {
  for (const auto& [name, form] : {std::pair{"math", AnswerForm::mathematical}, {"choice", AnswerForm::letter}})
    if (std::find(rules.begin(), rules.end(), name) != rules.end()) return form;
  return AnswerForm::text;
}

static std::string answer_of(const RewardInput& in, AnswerForm form) {
  const std::string tagged = normalize_space(parse_response(in.prompt, in.response).answer);
  if (form == AnswerForm::tagged || (form == AnswerForm::text && !tagged.empty())) return tagged;
  if (form == AnswerForm::text) return normalize_space(final_answer(in.response));
  if (form == AnswerForm::mathematical) return extract_math_answer(final_answer(in.response)).value_or("");
  const auto letter = chosen_letter(in.response, split_answers(in.fact("options")));
  return letter ? std::string(1, *letter) : "";
}

std::optional<size_t> majority(std::span<const RewardInput> completions, AnswerForm form) {
  constexpr size_t kMostCompared = 256;
  struct Vote {
    std::string answer;
    int count;
    size_t first;
  };
  std::vector<Vote> votes;  // in the order given
  std::map<std::string, size_t> place;
  for (size_t i = 0; i < completions.size(); ++i) {
    const std::string answer = answer_of(completions[i], form);
    if (answer.empty()) continue;
    const auto [at, fresh] = place.try_emplace(answer, votes.size());
    if (fresh) votes.push_back({answer, 0, i});
    ++votes[at->second].count;
  }
  if (form == AnswerForm::mathematical && votes.size() <= kMostCompared)
    for (size_t i = 0; i < votes.size(); ++i)
      for (size_t j = i + 1; j < votes.size(); ++j)
        if (votes[i].count > 0 && votes[j].count > 0 && math_equal(votes[j].answer, votes[i].answer))
          votes[i].count += std::exchange(votes[j].count, 0);
  const Vote* best = nullptr;
  for (const Vote& vote : votes)
    if (best == nullptr || vote.count > best->count) best = &vote;
  return best == nullptr ? std::nullopt : std::optional(best->first);
}

double consensus_accuracy(std::span<const RewardInput> completions) {
  const auto chosen = majority(completions, AnswerForm::tagged);
  return chosen ? accuracy_reward(completions[*chosen]) : 0;
}

}  // namespace r1
