// Reward models as the judge asks them: what they cannot be shown is an error of that sample's reward and of nothing else.
#include "actors/scorer.h"

#include <gtest/gtest.h>

#include "tasks/tiny/tokenizer_json.h"

namespace r1 {
namespace {

std::shared_ptr<const Tokenizer> tiny() {
  return std::make_shared<const Tokenizer>(Tokenizer::from_json(tiny_tokenizer_json(), "tiny"));
}

std::map<std::string, RewardModel> model_of(int64_t positions) {
  Device& device = open_device("cpu");
  ModelConfig config;
  config.vocab_size = tiny()->vocab_size();
  config.hidden = 16;
  config.ffn = 32;
  config.layers = 1;
  config.heads = 2;
  config.kv_heads = 1;
  config.head_dim = 8;
  config.max_positions = positions;
  config.scalar_head = true;
  config.tied_head = false;
  config.sees = "response";
  auto weights = std::make_shared<WeightSet>(device, config, DType::f32);
  initialize(*weights, 3);
  std::map<std::string, RewardModel> models;
  models["rm"] = {tiny(), false, positions, std::make_unique<ScoringEngine>(device, weights)};
  return models;
}

std::shared_ptr<const TrajectoriesMessage> group(const std::string& prompt, const std::vector<std::string>& completions) {
  auto asked = std::make_shared<PromptMessage>();
  asked->text = prompt;
  asked->tokens = tiny()->encode(prompt, false);
  auto m = std::make_shared<TrajectoriesMessage>();
  m->prompt = asked;
  for (const std::string& text : completions) {
    Sequence s;
    s.tokens = asked->tokens;
    const auto tokens = tiny()->encode(text, false);
    s.tokens.insert(s.tokens.end(), tokens.begin(), tokens.end());
    m->samples.push_back(s);
    m->finished.push_back(1);
  }
  return m;
}

TEST(Scorer, a_reward_model_with_fewer_positions_than_prompt_and_response_gives_that_sample_no_reward) {
  std::string much;
  for (int i = 0; i < 40; ++i) much += " 1 + 1";
  const auto groups = {group("compute 1 + 1", {"2", much}), group("compute 1 + 1" + much, {"2"})};
  const std::vector<std::shared_ptr<const TrajectoriesMessage>> both(groups);
  Scorer scorer(RewardExpression::parse("rm", {}), model_of(24));
  const auto scores = scorer.score(both, *tiny());
  EXPECT_TRUE(scores[0].scores[0].reward.has_value()) << scores[0].scores[0].error;
  for (const SampleScore& s : {scores[0].scores[1], scores[1].scores[0]}) {
    EXPECT_FALSE(s.reward.has_value());
    EXPECT_NE(s.error.find("'rm' would be shown "), std::string::npos) << s.error;
    EXPECT_NE(s.error.find("it takes 1 to 24"), std::string::npos) << s.error;
  }
  Scorer longer(RewardExpression::parse("rm", {}), model_of(512));
  for (const auto& g : longer.score(both, *tiny()))
    for (const SampleScore& s : g.scores) EXPECT_TRUE(s.reward.has_value()) << s.error;
}

}  // namespace
}  // namespace r1
