// Scores completions: rules (rewards/) and reward models, combined by the judge's expression. The engine of the judge.
// Thread rule: one thread at a time.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/messages.h"
#include "actors/run_env.h"
#include "models/training/trainer_engine.h"
#include "rewards/expression.h"

namespace r1 {

// A reward model of a judge: the edge's as=NAME.
struct RewardModel {
  std::shared_ptr<const Tokenizer> tokenizer;
  bool sees_answer = false;  // prompt and final answer only; else the whole response
  std::unique_ptr<ScoringEngine> engine;
};

class Scorer {
 public:
  Scorer(RewardExpression expression, std::map<std::string, RewardModel> models);
  // One score per sample of the group; `responses` receives the decoded completions. Throws failure when a reward is not
  // finite.
  std::vector<SampleScore> score(const TrajectoriesMessage& group, const Tokenizer& tokenizer,
                                 std::vector<std::string>& responses);

 private:
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
