// Reward models as the judge asks them: what they cannot be shown is an error of that sample's reward and of nothing else.
#include "actors/scorer.h"

#include <gtest/gtest.h>

#include "models/engines.h"
#include "models/training/scoring_engine.h"
#include "tasks/tiny/tokenizer_json.h"

namespace r1 {
namespace {

std::shared_ptr<const Tokenizer> tiny() {
  return std::make_shared<const Tokenizer>(Tokenizer::from_json(tiny_tokenizer_json(), "tiny"));
}

std::shared_ptr<WeightSet> reward_weights(int64_t positions, int64_t vocabulary) {
  ModelConfig config;
  config.vocab_size = vocabulary;
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
  auto weights = std::make_shared<WeightSet>(open_device("cpu"), config, DType::f32);
  initialize(*weights, 3);
  return weights;
}

std::map<std::string, RewardModel> model_of(int64_t positions) {
  std::map<std::string, RewardModel> models;
  models["rm"] = {tiny(), false, positions,
                  std::make_unique<ScoringEngine>(open_device("cpu"), reward_weights(positions, tiny()->vocab_size()))};
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
    const auto tokens = tiny()->encode(text + "<eos>", false);
    s.tokens.insert(s.tokens.end(), tokens.begin(), tokens.end());
    m->samples.push_back(s);
    m->finished.push_back(1);
  }
  return m;
}

TEST(RewardModels, whose_tokenizer_has_more_ids_than_the_model_are_refused) {
  const auto engines = device_engines(open_device("cpu"));
  EXPECT_NO_THROW(make_reward_model(*engines, reward_weights(64, tiny()->vocab_size()), tiny(), "rm"));
  EXPECT_THROW(make_reward_model(*engines, reward_weights(64, tiny()->vocab_size() - 1), tiny(), "rm"), Error);
}

TEST(Scorer, a_reward_model_sees_the_end_token_that_is_no_part_of_the_answer) {
  const auto whole = group("compute 1 + 1", {"2"});
  const auto cut_off = std::make_shared<TrajectoriesMessage>(*whole);
  cut_off->samples[0].tokens.pop_back();
  cut_off->finished[0] = 0;
  const std::vector<std::shared_ptr<const TrajectoriesMessage>> both = {whole, cut_off};
  // Room for all but the end token: the one that has it does not fit.
  Scorer scorer(RewardExpression::parse("rm", {}), model_of(static_cast<int64_t>(cut_off->samples[0].tokens.size())));
  const auto scores = scorer.score(both, *tiny());
  EXPECT_EQ(scores[0].responses[0].text, scores[1].responses[0].text);
  EXPECT_FALSE(scores[0].scores[0].reward);
  EXPECT_TRUE(scores[1].scores[0].reward) << scores[1].scores[0].error;
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

struct FailingEngine final : FrozenModel {
  void set_weights(std::shared_ptr<const WeightSet>) override {}
  std::vector<std::vector<float>> logprobs(const std::vector<Sequence>&, double) override { return {}; }
  std::vector<float> scores(const std::vector<std::vector<int32_t>>&) override { throw failure("no memory"); }
};

TEST(Scorer, an_engine_that_fails_is_no_error_of_the_reward) {
  std::map<std::string, RewardModel> models;
  models["rm"] = {tiny(), false, 512, std::make_unique<FailingEngine>()};
  Scorer scorer(RewardExpression::parse("rm", {}), std::move(models));
  const std::vector<std::shared_ptr<const TrajectoriesMessage>> one = {group("compute 1 + 1", {"2"})};
  EXPECT_THROW(scorer.score(one, *tiny()), Error);
}

// A program that answers when the test says so.
class Held final : public ScoreSource {
 public:
  void submit(std::vector<ScoreItemPtr> items, Done done) override {
    for (size_t i = 0; i < items.size(); ++i)
      held[items[i]->response].push_back([done, i](ScoreResult r) { done(i, std::move(r)); });
    asked.insert(asked.end(), items.begin(), items.end());
  }
  std::vector<ScoreItemPtr> asked;
  std::map<std::string, std::vector<std::function<void(ScoreResult)>>> held;
};

struct ScorerWithProgram : ::testing::Test {
  Held* program = new Held;
  std::unique_ptr<Scorer> scorer;
  void SetUp() override {
    ScoreSources programs;
    programs["command('p')"].reset(program);
    scorer = std::make_unique<Scorer>(RewardExpression::parse("command('p')"), std::map<std::string, RewardModel>(),
                                      std::move(programs));
  }
};

TEST_F(ScorerWithProgram, a_group_is_done_when_its_samples_are_and_waits_for_no_other_group) {
  const auto slow = group("compute 1 + 1", {"1", "2"}), fast = group("compute 1 + 1", {"3"});
  scorer->add(slow);
  scorer->add(fast);
  scorer->wake();
  EXPECT_TRUE(scorer->next(*tiny()).empty());
  const auto answer = [&](const std::string& response, const ScoreResult& r) {
    for (auto& [text, asked] : program->held)
      if (text.ends_with(response)) asked.at(0)(r);
  };
  ASSERT_EQ(program->held.size(), 3u) << "all are asked for at once";
  answer("3", {0.5, {}, ""});
  auto done = scorer->next(*tiny());
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].group, fast);
  EXPECT_EQ(done[0].scores[0].reward, 0.5);
  answer("2", {{}, {}, "it said no"});
  answer("1", {0.25, {}, ""});
  done = scorer->next(*tiny());
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].scores[0].reward, 0.25);
  EXPECT_FALSE(done[0].scores[1].reward);
  EXPECT_EQ(done[0].scores[1].error, "it said no");
  EXPECT_EQ(done[0].scores[1].parts.count("format"), 1u) << "what else is known is there";
}

TEST_F(ScorerWithProgram, a_program_sees_the_conversation_that_was_rendered) {
  auto asked = std::make_shared<TrajectoriesMessage>(*group("compute 1 + 1", {"1"}));
  auto prompt = std::make_shared<PromptMessage>(*asked->prompt);
  prompt->conversation = R"({"messages":[{"role":"user","content":"compute 1 + 1"}]})";
  asked->prompt = prompt;
  scorer->add(asked);
  scorer->add(group("compute 1 + 1", {"1"}));
  scorer->wake();
  scorer->next(*tiny());
  ASSERT_EQ(program->asked.size(), 2u);
  EXPECT_EQ(program->asked[0]->messages, R"([{"role":"user","content":"compute 1 + 1"}])");
  EXPECT_EQ(program->asked[1]->messages, "") << "a text without a template";
}

TEST_F(ScorerWithProgram, rewards_are_told_how_many_tokens_a_completion_has_and_whether_it_ended) {
  auto asked = std::make_shared<TrajectoriesMessage>(*group("compute 1 + 1", {"1 2 3", "4"}));
  asked->finished = {1, 0};
  const auto tokens = static_cast<int64_t>(tiny()->encode("1 2 3<eos>", false).size());
  ASSERT_NE(tokens, static_cast<int64_t>(tiny()->encode("4<eos>", false).size()));
  scorer->add(asked);
  scorer->wake();
  scorer->next(*tiny());
  ASSERT_EQ(program->asked.size(), 2u);
  EXPECT_EQ(program->asked[0]->tokens, tokens) << "without the prompt's";
  EXPECT_TRUE(program->asked[0]->finished);
  EXPECT_FALSE(program->asked[1]->finished);
  Scorer rules(RewardExpression::parse("length + 1000 * finished"), {});
  const std::vector<std::shared_ptr<const TrajectoriesMessage>> groups = {asked};
  const auto scores = rules.score(groups, *tiny());
  EXPECT_EQ(scores[0].scores[0].reward, static_cast<double>(1000 + tokens));
  EXPECT_LT(scores[0].scores[1].reward, 1000);
}

TEST_F(ScorerWithProgram, parts_are_recorded_unless_their_name_is_taken) {
  const auto asked = group("compute 1 + 1", {"1"});
  scorer->add(asked);
  scorer->wake();
  scorer->next(*tiny());
  program->held.begin()->second[0]({0.5, {{"style", 0.75}, {"loss", 3}, {"reward", 4}, {"accuracy", 5}}, ""});
  const auto done = scorer->next(*tiny());
  ASSERT_EQ(done.size(), 1u);
  const auto& parts = done[0].scores[0].parts;
  EXPECT_EQ(parts.at("style"), 0.75);
  EXPECT_EQ(parts.at("command('p')"), 0.5);
  EXPECT_EQ(parts.count("loss") + parts.count("reward"), 0u);
  EXPECT_EQ(parts.at("accuracy"), 0) << "r1's own";
}

}  // namespace
}  // namespace r1
