// The held-out side of the tiny world is disjoint from everything else, and large.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tasks/source.h"
#include "tasks/tiny/vocabulary.h"
#include "tests/tasks/tiny_solver.h"

namespace r1::tiny {
namespace {

std::string prompt_of(const Source& source, uint64_t i) {
  switch (source.kind()) {
    case RecordKind::prompt:
      return source.prompt(i).text;
    case RecordKind::example:
      return source.example(i).prompt;
    case RecordKind::pair:
      return source.pair(i).prompt;
  }
  return {};
}

// kind -> the distinct problems (the same in both languages) that a source gives.
std::map<std::string, std::set<std::string>> problems(const std::string& spec, uint64_t n, uint64_t seed = 1) {
  const auto source = open_source(spec, seed);
  std::map<std::string, std::set<std::string>> out;
  for (uint64_t i = 0; i < n; ++i) {
    const Solved s = solve(prompt_of(*source, i));
    out[s.kind].insert(s.canonical);
  }
  return out;
}

TEST(TinyHeldOut, no_test_problem_occurs_in_any_other_source) {
  std::map<std::string, std::set<std::string>> test;
  for (const std::string& name : source_names())
    if (name.ends_with("_test"))
      for (auto& [kind, set] : problems(name, 6000)) test[kind].merge(set);
  ASSERT_EQ(test.size(), 7u);
  size_t compared = 0;
  for (const std::string& name : source_names()) {
    if (!name.starts_with("tiny:") || name.ends_with("_test")) continue;
    for (const auto& [kind, set] : problems(name, 12000, 2)) {
      for (const std::string& p : set) {
        ASSERT_EQ(test[kind].count(p), 0u) << name << ": " << p;
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 20000u);
}

TEST(TinyHeldOut, every_family_has_hundreds_of_distinct_held_out_problems) {
  auto test = problems("tiny:general_test", 40000);
  EXPECT_GT(test["repeat"].size(), 1000u);
  EXPECT_GT(test["reverse"].size(), 1000u);
  EXPECT_GT(test["sort"].size(), 1000u);
  EXPECT_GT(test["color"].size(), 150u);
  EXPECT_GT(test["secret"].size(), 200u);
  auto reasoning = problems("tiny:reasoning_test", 20000);
  EXPECT_GT(reasoning["compute"].size(), 5000u);
  EXPECT_GT(reasoning["find"].size(), 1000u);
  EXPECT_GT(problems("tiny:harmless_pairs_test", 20000)["secret"].size(), 200u);
}

TEST(TinyHeldOut, the_training_side_still_shows_every_single_fact) {
  auto train = problems("tiny:general_prompts", 20000);
  for (const char* thing : {"sky", "grass", "snow", "coal", "sun", "rose"})
    EXPECT_EQ(train["color"].count("color " + std::string(thing) + " "), 1u) << thing;
  for (const char* thing : {"bank", "house", "safe", "car"})
    EXPECT_EQ(train["secret"].count("secret " + std::string(thing) + " "), 1u) << thing;
  EXPECT_GT(train["secret"].size(), 700u);
}

}  // namespace
}  // namespace r1::tiny
