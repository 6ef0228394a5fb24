// Reward models as a judge and an evaluator use them: what they are shown, where they come from, and a model as a ScoreSource.
// Thread rule: one thread at a time.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/run_env.h"
#include "models/engines.h"
#include "rewards/score_source.h"

namespace r1 {

// A reward model of a judge: the edge's as=NAME.
struct RewardModel {
  std::shared_ptr<const Tokenizer> tokenizer;
  bool sees_answer = false;  // prompt and final answer only; else the whole response
  int64_t longest = 0;       // tokens it can be shown
  std::unique_ptr<FrozenModel> engine;
};

// What a reward model is shown, as tokens.
std::vector<int32_t> shown_tokens(const RewardModel& model, const std::string& prompt, const std::string& response);
// Of weights with a scalar head. Throws failure at `where` when they have none; `name`: for the message.
RewardModel make_reward_model(const EngineFactory& engines, std::shared_ptr<WeightSet> weights,
                              std::shared_ptr<const Tokenizer> tokenizer, const std::string& name, const Where& where = {});
// Loads the models that arrive at `node` by edges with as=NAME.
std::map<std::string, RewardModel> load_reward_models(const RunEnv& env, const GraphView& graph, const NodePlan& node);

// Asks the model inside submit(), for all items at once. One that it cannot be shown fails alone; what the
// engine throws goes on to the caller.
std::unique_ptr<ScoreSource> make_model_source(const std::string& name, RewardModel model);

}  // namespace r1
