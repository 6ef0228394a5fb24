// What of scored groups is stored, trained on and counted.
#include "actors/batch_layout.h"

#include <gtest/gtest.h>

#include "actors/size_checks.h"

namespace r1 {
namespace {

Sequence sample(size_t prompt, const std::vector<int64_t>& versions) {
  Sequence s;
  for (size_t i = 0; i < prompt + versions.size(); ++i) {
    s.tokens.push_back(static_cast<int32_t>(i));
    s.trainable.push_back(i < prompt ? 0 : 1);
    s.version.push_back(i < prompt ? -1 : versions[i - prompt]);
    s.behaviour_logp.push_back(0);
    s.exact.push_back(1);
  }
  return s;
}

// Two samples, of 2 and 3 tokens, the second one cut off; rewards 0 and 1.
BatchMessage::Group group(int64_t draw, const std::string& dropped) {
  auto prompt = std::make_shared<PromptMessage>();
  prompt->draw = draw;
  prompt->tokens = {7, 8};
  auto sampled = std::make_shared<TrajectoriesMessage>();
  sampled->prompt = prompt;
  sampled->samples = {sample(2, {3, 4}), sample(2, {4, 4, 4})};
  sampled->finished = {1, 0};
  auto scored = std::make_shared<ScoredMessage>();
  scored->group = sampled;
  scored->scores.resize(2);
  scored->scores[0].reward = 0;
  scored->scores[1].reward = 1;
  scored->responses.resize(2);
  return {scored, dropped, {}};
}

BatchMessage batch_of(std::vector<BatchMessage::Group> groups) {
  BatchMessage batch;
  batch.version = 4;
  batch.groups = std::move(groups);
  return batch;
}

TEST(BatchLayout, every_sample_is_stored_and_those_of_groups_that_were_kept_are_trained_on) {
  const BatchLayout out = lay_out_groups(batch_of({group(10, ""), group(11, "equal_rewards")}), {});
  ASSERT_EQ(out.rows.resolutions.size(), 2u);
  EXPECT_EQ(out.rows.resolutions[0].batch, 4);
  EXPECT_EQ(out.rows.resolutions[1].batch, -1);
  EXPECT_EQ(out.rows.resolutions[1].reason, "equal_rewards");
  EXPECT_EQ(out.rows.trajectories.size(), 4u);
  ASSERT_EQ(out.content.items.size(), 2u);
  EXPECT_EQ(out.content.items[1].draw, 10);
  EXPECT_EQ(out.content.items[1].sample, 1);
  EXPECT_LT(out.content.items[0].advantage, 0);
  EXPECT_EQ(out.train.sequences.size(), 2u);
  EXPECT_EQ(out.stats["tokens"], 9);  // 4 and 5, prompts included
  EXPECT_EQ(out.stats["completions"], 4);
  EXPECT_EQ(out.stats["length"], 2.5);
  EXPECT_EQ(out.stats["age"], 0.5);  // the first one has a token of version 3
  EXPECT_EQ(out.content.silent_sequences, 0);
}

// docs/limits.md, "Multiplied".
TEST(BatchLayout, a_batch_takes_the_bytes_that_are_counted_for_it_before_anything_is_sampled) {
  constexpr size_t kTokens = 20'000;
  std::vector<BatchMessage::Group> groups = {group(10, ""), group(11, "")};
  for (BatchMessage::Group& g : groups) {
    auto sampled = std::make_shared<TrajectoriesMessage>(*g.scored->group);
    sampled->samples = {sample(2, std::vector<int64_t>(kTokens, 4)), sample(2, std::vector<int64_t>(kTokens, 4))};
    auto scored = std::make_shared<ScoredMessage>(*g.scored);
    scored->group = sampled;
    g.scored = scored;
  }
  const auto bytes = [](const auto& v) { return static_cast<double>(v.size() * sizeof(v[0])); };
  const auto of_sequence = [&](const Sequence& s) {
    return bytes(s.tokens) + bytes(s.trainable) + bytes(s.behaviour_logp) + bytes(s.reference_logp) + bytes(s.version) +
           bytes(s.exact);
  };
  for (const bool reference : {false, true}) {
    SCOPED_TRACE(reference);
    if (reference)
      for (BatchMessage::Group& g : groups) g.reference_logp.assign(2, std::vector<float>(2 + kTokens, -1));
    const BatchMessage batch = batch_of(groups);
    double message = 0, rows = 0, engine = 0;
    for (const BatchMessage::Group& g : batch.groups) {
      for (const Sequence& s : g.scored->group->samples) message += of_sequence(s);
      for (const auto& logp : g.reference_logp) message += bytes(logp);
    }
    const BatchLayout out = lay_out_groups(batch, {});
    for (const TrajectoryRow& row : out.rows.trajectories) rows += bytes(row.payload);
    for (const Sequence& s : out.train.sequences) engine += of_sequence(s);
    for (const BatchContent::Item& item : out.content.items) engine += bytes(item.reference_logp);
    engine += bytes(encode_batch(out.content));
    const BatchSize trained{2, 2, kTokens, true, reference}, written{2, 2, kTokens, false, reference};
    EXPECT_NEAR((message + rows + engine) / trained.bytes(), 1, 0.01);
    EXPECT_NEAR((message + rows) / written.bytes(), 1, 0.01);
  }
}

TEST(BatchLayout, mask_truncated_leaves_out_what_was_cut_off_and_mean_over_all_counts_equal_rewards) {
  LayoutRules rules;
  rules.mask_truncated = rules.mean_over_all = true;
  const BatchLayout out = lay_out_groups(batch_of({group(10, ""), group(11, "equal_rewards"), group(12, "stale")}), rules);
  ASSERT_EQ(out.content.items.size(), 1u);
  EXPECT_EQ(out.content.items[0].sample, 0);
  EXPECT_EQ(out.content.silent_sequences, 2);
  EXPECT_EQ(out.content.silent_tokens, 5);
}

TEST(BatchLayout, an_example_teaches_when_it_has_a_token_to_learn_and_a_pair_when_its_sides_differ) {
  LayoutRules rules;
  const auto examples = [] { return std::vector<Sequence>{sample(2, {0}), sample(2, {}), sample(1, {}), sample(1, {})}; };
  EXPECT_EQ(lay_out_examples(examples(), rules).stats["examples"], 4);
  EXPECT_EQ(lay_out_examples(examples(), rules).stats["examples_trained"], 1);
  rules.every_token = true;
  EXPECT_EQ(lay_out_examples(examples(), rules).stats["examples_trained"], 2);
  rules.stride = 2;
  EXPECT_EQ(lay_out_examples(examples(), rules).stats["examples"], 2);
  EXPECT_EQ(lay_out_examples(examples(), rules).stats["examples_trained"], 1);
  EXPECT_TRUE(lay_out_examples({}, rules).content.items.empty());
}

TEST(BatchLayout, a_sample_is_as_old_as_its_oldest_sampled_token) {
  EXPECT_EQ(sample_age(sample(2, {3, 4}), 5), 2);
  EXPECT_EQ(sample_age(sample(2, {}), 5), 0);
}

}  // namespace
}  // namespace r1
