#include "actors/example_set.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

Sequence sequence(int32_t token) {
  Sequence s;
  s.tokens = {token};
  s.trainable = {1};
  return s;
}

std::vector<int32_t> tokens(const std::vector<Sequence>& sequences) {
  std::vector<int32_t> out;
  for (const Sequence& s : sequences) out.push_back(s.tokens.at(0));
  return out;
}

TEST(ExampleSet, every_epoch_has_every_example_once_in_an_order_of_its_own) {
  TemporaryDirectory dir;
  ExampleSet set(dir.path() / "examples", "sft", 5, 1);
  for (int32_t i = 0; i < 20; ++i) set.add(0, sequence(i));
  set.close();
  ASSERT_EQ(set.size(), 20);
  const auto first = tokens(set.read(0, 20)), second = tokens(set.read(20, 40));
  EXPECT_NE(first, second);
  EXPECT_EQ(std::set(first.begin(), first.end()).size(), 20u);
  EXPECT_EQ(std::set(second.begin(), second.end()).size(), 20u);
  // A batch across the border, and one of an earlier epoch again: as a restart reads them.
  auto both = first;
  both.insert(both.end(), second.begin(), second.end());
  EXPECT_EQ(tokens(set.read(15, 25)), std::vector<int32_t>(both.begin() + 15, both.begin() + 25));
  EXPECT_EQ(tokens(set.read(0, 20)), first);
}

TEST(ExampleSet, the_order_in_which_edges_bring_their_examples_does_not_matter) {
  TemporaryDirectory dir;
  ExampleSet one(dir.path() / "one", "sft", 5, 1), other(dir.path() / "other", "sft", 5, 1);
  one.add(ExampleSet::kDatasets, sequence(0));
  one.add(3, sequence(1));
  one.add(7, sequence(2));
  one.add(3, sequence(3));
  other.add(7, sequence(2));
  other.add(3, sequence(1));
  other.add(ExampleSet::kDatasets, sequence(0));
  other.add(3, sequence(3));
  ExampleSet in_a_row(dir.path() / "in_a_row", "sft", 5, 1);
  for (const int32_t token : {0, 1, 3, 2}) in_a_row.add(ExampleSet::kDatasets, sequence(token));
  for (ExampleSet* set : {&one, &other, &in_a_row}) set->close();
  EXPECT_EQ(tokens(one.read(0, 4)), tokens(in_a_row.read(0, 4))) << "data sets first, then edge by edge";
  EXPECT_EQ(tokens(other.read(0, 4)), tokens(in_a_row.read(0, 4)));
}

TEST(ExampleSet, the_two_sides_of_a_pair_stay_together) {
  TemporaryDirectory dir;
  ExampleSet set(dir.path() / "pairs", "rm", 5, 2);
  for (int32_t i = 0; i < 20; ++i) set.add(0, sequence(i));
  set.close();
  ASSERT_EQ(set.size(), 10);
  const auto read = tokens(set.read(0, 10));
  ASSERT_EQ(read.size(), 20u);
  for (size_t i = 0; i < read.size(); i += 2) {
    EXPECT_EQ(read[i] % 2, 0);
    EXPECT_EQ(read[i + 1], read[i] + 1);
  }
}

}  // namespace
}  // namespace r1
