// Sources by name: options, errors, determinism, and what the type check of a graph needs.
#include "tasks/source.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "rewards/expression.h"
#include "rewards/rules.h"

namespace r1 {
namespace {

std::string refusal(const std::string& spec) {
  try {
    open_source(spec, 0);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    EXPECT_THROW(source_kind(spec), Error) << spec;
    return e.what();
  }
  return "accepted";
}

std::string record(const Source& s, uint64_t i) {
  switch (s.kind()) {
    case RecordKind::prompt: {
      const Prompt p = s.prompt(i);
      std::string out = p.text;
      for (const auto& [k, v] : p.facts) out += "\n" + k + "=" + v;
      return out;
    }
    case RecordKind::example:
      return s.example(i).prompt + "\n" + s.example(i).completion;
    case RecordKind::pair:
      return s.pair(i).prompt + "\n" + s.pair(i).chosen + "\n" + s.pair(i).rejected;
  }
  return {};
}

TEST(Source, unknown_names_and_options_come_with_a_suggestion) {
  EXPECT_NE(refusal("tiny:resoning").find("did you mean 'tiny:reasoning'?"), std::string::npos) << refusal("tiny:resoning");
  EXPECT_NE(refusal("wikipedia").find("known are tiny:pretrain"), std::string::npos) << refusal("wikipedia");
  EXPECT_NE(refusal("tiny:pretrain?fnd=0.4").find("did you mean 'find'?"), std::string::npos);
  EXPECT_NE(refusal("tiny:pretrain?find=lots").find("find=lots is not a number from 0 to 1"), std::string::npos);
  EXPECT_NE(refusal("tiny:pretrain?find=1.5").find("is not a number from 0 to 1"), std::string::npos);
  EXPECT_NE(refusal("tiny:pretrain?find=nan").find("is not a number"), std::string::npos);
  EXPECT_NE(refusal("tiny:pretrain?find").find("expected NAME=VALUE"), std::string::npos);
  EXPECT_NE(refusal("tiny:pretrain?").find("expected NAME=VALUE"), std::string::npos);
  EXPECT_NE(refusal("tiny:pretrain?find=0.1&find=0.2").find("given twice"), std::string::npos);
  EXPECT_NE(refusal("tiny:pretrain?find_min=4.5").find("whole number"), std::string::npos);
  EXPECT_NE(refusal("tiny:general_test?find=0.5").find("has no options"), std::string::npos);
  EXPECT_NE(refusal("tiny:reasoning?mixing=0.5").find("unknown option"), std::string::npos) << "a knob that does nothing there";
  EXPECT_NE(refusal("jsonl:").find("names no file"), std::string::npos);
  EXPECT_NE(refusal("jsonl:/no/such/file.jsonl").find("no such file"), std::string::npos);
}

TEST(Source, every_record_is_a_function_of_seed_and_index) {
  for (const std::string& name : source_names()) {
    if (!name.starts_with("tiny:")) continue;
    const auto a = open_source(name, 7), b = open_source(name, 7), c = open_source(name, 8);
    std::vector<std::string> forward;
    for (uint64_t i = 0; i < 50; ++i) forward.push_back(record(*a, i));
    int differ = 0;
    for (uint64_t i = 50; i-- > 0;) {
      ASSERT_EQ(record(*b, i), forward[i]) << name;
      differ += record(*c, i) != forward[i];
    }
    EXPECT_GT(differ, 25) << name << ": another seed gives other records";
    EXPECT_NE(record(*a, 1ull << 40), forward[0]);
  }
}

TEST(Source, threads_may_share_one) {
  const auto source = open_source("tiny:pretrain", 7);
  std::vector<std::string> expected;
  for (uint64_t i = 0; i < 300; ++i) expected.push_back(record(*source, i));
  std::vector<int> wrong(3, 0);
  std::vector<std::thread> threads;
  for (size_t k = 0; k < 3; ++k)
    threads.emplace_back([&, k] {
      for (uint64_t i = 0; i < 300; ++i) wrong[k] += record(*source, i) != expected[i];
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong, (std::vector<int>{0, 0, 0}));
}

TEST(Source, kinds_are_known_without_opening) {
  EXPECT_EQ(source_kind("tiny:pretrain"), RecordKind::example);
  EXPECT_EQ(source_kind("tiny:all_scenarios"), RecordKind::prompt);
  EXPECT_EQ(source_kind("tiny:helpful_pairs_test"), RecordKind::pair);
  for (const std::string& name : source_names()) {
    if (!name.starts_with("tiny:")) continue;
    const auto source = open_source(name, 0);
    EXPECT_EQ(source_kind(name), source->kind());
    EXPECT_EQ(source->size(), std::nullopt);
  }
}

TEST(Source, fact_values_let_the_graph_check_a_reward_expression) {
  const auto names = [](const std::string& spec, std::vector<std::string> models) {
    std::vector<std::string> known = rule_names();
    for (const std::string& flag : flag_names(open_source(spec, 0)->fact_values())) known.push_back(flag);
    known.insert(known.end(), models.begin(), models.end());
    return known;
  };
  const auto rl1 = RewardExpression::parse("format * (accuracy + 0.2 + 0.2 * language)");
  EXPECT_NO_THROW(check_variables(rl1, names("tiny:reasoning", {})));
  const auto rl2 = RewardExpression::parse(
      "format * (0.2 + 0.2 * language + if(reasoning, accuracy, if(harm, sigmoid(harmless), "
      "if(kind_color, 1, 0.7 * accuracy) * (0.7 * sigmoid(helpful) + 0.3 * sigmoid(harmless)))))");
  EXPECT_NO_THROW(check_variables(rl2, names("tiny:all_scenarios", {"helpful", "harmless"})));
  EXPECT_THROW(check_variables(rl2, names("tiny:all_scenarios", {"helpful"})), Error);
  EXPECT_THROW(check_variables(RewardExpression::parse("kind_colour"), names("tiny:all_scenarios", {})), Error);
}

}  // namespace
}  // namespace r1
