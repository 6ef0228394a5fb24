// Scores groups of completions: rules, reward models and programs, combined by the judge's expression. The engine of the judge.
// A group is done when all its samples are; one that waits for a slow program holds up no other.
// Thread rule: one thread at a time, but for add() and wake().
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "actors/messages.h"
#include "actors/reward_models.h"
#include "models/generation/stop_texts.h"
#include "rewards/expression_scorer.h"

namespace r1 {

class Scorer {
 public:
  using Group = std::shared_ptr<const TrajectoriesMessage>;
  Scorer(RewardExpression expression, std::map<std::string, RewardModel> models, ScoreSources programs = {});
  // What became of one group: a score per sample (without a reward where the expression, a rule, a model or a program failed or
  // gave a number that is not finite; what else is known of the sample is there all the same) and the decoded completions.
  struct GroupScores {
    Group group;
    std::vector<SampleScore> scores;
    std::vector<Completion> responses;
  };

  // Texts that end a completion (`stop` of the stage's generator): responses are read through their end. Before anything is
  // scored; null: none.
  void stop_at(std::shared_ptr<const StopTexts> stops) { stops_ = std::move(stops); }

  // To be scored, at the next or the present call of next(). Any thread.
  void add(Group group);
  // The groups done since the last call, in the order in which they came. Waits until one is, none is left, or wake(); comes
  // back empty as well when only single samples were done for a while, so that its caller sees progress. Reward models see the
  // samples of several groups together.
  std::vector<GroupScores> next(const Tokenizer& tokenizer);
  // Any thread.
  void wake();

  // All of them, at once.
  std::vector<GroupScores> score(std::span<const Group> groups, const Tokenizer& tokenizer);

 private:
  struct Open {
    GroupScores scores;
    size_t left = 0;  // samples
  };
  void begin(const Tokenizer& tokenizer);
  SampleScore finish(ItemScore score, const RewardInput& in);

  std::shared_ptr<const StopTexts> stops_;
  std::set<std::string> models_;
  ExpressionScorer scorer_;
  std::map<uint64_t, Open> open_;  // by order of arrival
  std::map<uint64_t, ScoreItemPtr> items_;
  std::set<std::string> noted_;  // parts that are not declared: recorded, or said once that they are not
  uint64_t number_ = 0;
  std::mutex mutex_;
  std::vector<Group> arrived_;
  bool woken_ = false;
};

// `finished`: it was ended by one of `stops` (null: there are none) or by an end token, whatever the model calls it.
Completion completion_of(const Sequence& sample, size_t prompt_tokens, bool finished, const Tokenizer& tokenizer,
                         const StopTexts* stops = nullptr);

}  // namespace r1
