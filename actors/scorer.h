// Scores completions: rules (rewards/) and reward models, combined by the judge's expression. The engine of the judge.
// Thread rule: one thread at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "actors/messages.h"
#include "actors/run_env.h"
#include "models/training/trainer_engine.h"
#include "rewards/expression.h"
#include "rewards/reward_input.h"

namespace r1 {

// A reward model of a judge: the edge's as=NAME.
struct RewardModel {
  std::shared_ptr<const Tokenizer> tokenizer;
  bool sees_answer = false;  // prompt and final answer only; else the whole response
  int64_t longest = 0;       // tokens it can be shown
  std::unique_ptr<ScoringEngine> engine;
};

class Scorer {
 public:
  Scorer(RewardExpression expression, std::map<std::string, RewardModel> models);
  // What became of one group: a score per sample (without a reward where the expression, a rule or a model failed or gave a
  // number that is not finite; what else is known of the sample is there all the same) and the decoded completions.
  struct GroupScores {
    std::vector<SampleScore> scores;
    std::vector<std::string> responses;
  };
  // Reward models see the samples of all groups together. Throws bad_input alone.
  std::vector<GroupScores> score(std::span<const std::shared_ptr<const TrajectoriesMessage>> groups,
                                 const Tokenizer& tokenizer);

 private:
  using Place = std::pair<size_t, size_t>;  // group, sample
  // A model's scores, why it gave none, and what it is asked for and has not answered yet.
  struct ModelScores {
    std::map<Place, double> known;
    std::map<Place, std::string> failed;
    std::set<Place> wanted;
  };
  SampleScore score_sample(const RewardInput& in, const std::function<double(const std::string&)>& ask_model) const;
  void answer(const std::string& name, ModelScores& asked, std::span<const std::shared_ptr<const TrajectoriesMessage>> groups,
              const std::vector<GroupScores>& out);

  RewardExpression expression_;
  std::map<std::string, RewardModel> models_;
};

// The text of a sample's completion: the tokens after the prompt.
std::string completion_text(const Sequence& sample, size_t prompt_tokens, const Tokenizer& tokenizer);
// What a reward model is shown, as tokens.
std::vector<int32_t> shown_tokens(const RewardModel& model, const std::string& prompt, const std::string& response);
// Loads the models that arrive at `node` by edges with as=NAME.
std::map<std::string, RewardModel> load_reward_models(const RunEnv& env, const GraphView& graph, const NodePlan& node);

}  // namespace r1
