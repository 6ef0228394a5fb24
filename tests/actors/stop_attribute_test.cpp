// The attribute `stop`: its forms, its faults, and what a run keeps of a completion that a text ended.
#include "actors/stop_attribute.h"

#include <nlohmann/json.hpp>

#include "actors/codec.h"
#include "actors/scorer.h"
#include "tasks/tiny/tokenizer_json.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

using Texts = std::vector<std::string>;

Texts parsed(const std::string& text) { return parse_stop_texts(text, {"g.graph", 3, 7}); }

TEST(StopAttribute, is_one_text_or_several_in_quotes) {
  EXPECT_EQ(parsed(""), Texts{});
  EXPECT_EQ(parsed("</answer>"), Texts{"</answer>"});
  EXPECT_EQ(parsed("a, 'b'"), Texts{"a, 'b'"}) << "as it stands";
  EXPECT_EQ(parsed(R"(\n\nUser:)"), Texts{"\n\nUser:"});
  EXPECT_EQ(parsed(R"('</answer>', '\n\n','it\'s', 'a\\b')"), (Texts{"</answer>", "\n\n", "it's", "a\\b"}));
}

TEST(StopAttribute, that_is_no_list_of_texts_is_refused_with_its_place) {
  std::string many = "'a'";
  for (int i = 0; i < 16; ++i) many += ", 'b'";
  for (const std::string& text : {std::string("''"), std::string("'a"), std::string("'a' 'b'"), std::string("'a',"),
                                  std::string("'a', b"), std::string("a\\"), std::string("\\x"), many, std::string(257, 'a')}) {
    try {
      parsed(text);
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      EXPECT_EQ(e.where().str(), "g.graph:3:7");
      EXPECT_NE(std::string(e.what()).find("in single quotes"), std::string::npos) << e.what();
    }
  }
}

// The nano graph with a text that random words soon complete.
TEST(StopAttribute, ends_samples_in_a_run_that_stays_on_policy_and_replays) {
  const auto top = std::filesystem::temp_directory_path() / ("r1_stop_" + std::to_string(::getpid()));
  std::filesystem::remove_all(top);
  // The second part is about what stands behind a stop text.
  const std::string rewards = "0.01 * length + regex('[ae].*[a-z]$')";
  LocalRun run(top, {"policy.stop='a', 'e'", "judge.rewards=" + rewards});
  for (const char* stage : {"base", "sft", "rl"}) ASSERT_TRUE(run.run_stage(stage, 1)) << stage;
  const Tokenizer tokenizer = Tokenizer::from_json(tiny_tokenizer_json(), "tiny");
  const StopTexts stops(tokenizer, {"a", "e"});
  const int32_t eos = tokenizer.id_of("<eos>").value();
  Scorer judged(RewardExpression::parse(rewards), {}), uncut(RewardExpression::parse(rewards), {});
  judged.stop_at(std::make_shared<StopTexts>(tokenizer, Texts{"a", "e"}));
  int64_t ended = 0, cut = 0;
  const int64_t stage = run.id("rl");
  for (int64_t draw = 0; draw < 8; ++draw)
    for (const TrajectoryRow& row : run.store->trajectories(stage, draw)) {
      const Sequence s = decode_sequence(row.payload);
      std::vector<int32_t> completion;
      for (size_t i = 0; i < s.tokens.size(); ++i)
        if (s.trainable[i]) completion.push_back(s.tokens[i]);
      const bool found = stops.end(completion);
      ended += found;
      for (size_t n = 1; n < completion.size(); ++n)
        ASSERT_FALSE(stops.end(std::span(completion).first(n))) << "sampled on behind a stop text";
      EXPECT_TRUE(found || completion.back() == eos || completion.size() >= 24u) << tokenizer.decode(completion);
      Sequence whole;
      whole.tokens = completion;
      const auto [kept, end] = completion_of(whole, 0, found || completion.back() == eos, tokenizer, &stops);
      EXPECT_TRUE(tokenizer.decode(completion).starts_with(kept));
      EXPECT_EQ(end, !found && completion.back() == eos ? "<eos>" : "");
      EXPECT_TRUE(!found || kept.ends_with("a") || kept.ends_with("e")) << kept;
      auto group = std::make_shared<TrajectoriesMessage>();
      group->prompt = std::make_shared<PromptMessage>();
      group->samples = {whole};
      group->finished = {static_cast<uint8_t>(found || completion.back() == eos)};
      const std::vector<std::shared_ptr<const TrajectoriesMessage>> alone = {group};
      EXPECT_EQ(row.reward, judged.score(alone, tokenizer)[0].scores[0].reward) << "the judge sees " << kept;
      group->finished = {0};  // nothing is taken off
      cut += row.reward != uncut.score(alone, tokenizer)[0].scores[0].reward;
    }
  EXPECT_GT(cut, 4);
  EXPECT_GT(ended, 8);
  const auto summary = nlohmann::json::parse(stage_summary(run.graph, *run.graph.stage("rl"), *run.store, stage, {}, 1));
  EXPECT_EQ(summary.at("logprob_gap_max"), 0);
  std::filesystem::remove_all(top);
}

}  // namespace
}  // namespace r1
