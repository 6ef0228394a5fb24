#include "models/training/packing.h"

#include <gtest/gtest.h>

#include "tests/models/tiny.h"

namespace r1::test {
namespace {

Sequence sequence(std::vector<int32_t> tokens, std::vector<uint8_t> trainable) {
  Sequence s;
  s.tokens = std::move(tokens);
  s.trainable = std::move(trainable);
  return s;
}

TEST(Packing, SendsOnlyTheRowsBeforeTrainableTokensThroughTheHead) {
  const std::vector<Sequence> s = {sequence({5, 6, 7, 8, 9}, {0, 0, 1, 1, 0}), sequence({1, 2}, {0, 0}),
                                   sequence({3, 4}, {0, 1})};
  const auto packs = pack(s, {HeadRows::trainable, 100});
  ASSERT_EQ(packs.size(), 1u);
  const MicroBatch& m = packs[0];
  EXPECT_EQ(m.ids, (std::vector<int32_t>{5, 6, 7, 3})) << "rows behind the last prediction are cut, idle sequences left out";
  EXPECT_EQ(m.positions, (std::vector<int32_t>{0, 1, 2, 0}));
  EXPECT_EQ(m.offsets, (std::vector<int32_t>{0, 3, 4}));
  EXPECT_EQ(m.rows, (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(m.targets, (std::vector<int32_t>{7, 8, 4}));
  EXPECT_EQ(m.row_sequence, (std::vector<int32_t>{0, 0, 2}));
  EXPECT_EQ(m.row_token, (std::vector<int32_t>{2, 3, 1}));
  EXPECT_FALSE(m.all_rows);
}

TEST(Packing, PredictsEveryTokenButTheFirstInPretraining) {
  const std::vector<Sequence> s = {sequence({5, 6, 7}, {}), sequence({1}, {}), sequence({3, 4}, {})};
  const auto packs = pack(s, {HeadRows::every_token, 100});
  ASSERT_EQ(packs.size(), 1u);
  EXPECT_EQ(packs[0].targets, (std::vector<int32_t>{6, 7, 4}));
  EXPECT_TRUE(packs[0].all_rows);
}

TEST(Packing, KeepsOrderAndTheBudgetAndBalancesMicroBatches) {
  const TrainBatch b = random_batch(3, 60, 19);
  for (int64_t budget : {13, 40, 100, 10000}) {
    for (int64_t spread : {1, 4}) {
      PackRules r{HeadRows::every_token, budget};
      r.spread = spread;
      r.spread_rows = 50;
      const auto packs = pack(b.sequences, r);
      int32_t last = -1;
      for (const MicroBatch& m : packs) {
        EXPECT_LE(static_cast<int64_t>(m.ids.size()), budget);
        EXPECT_FALSE(m.ids.empty());
        for (int32_t s : m.row_sequence) {
          EXPECT_GE(s, last);
          last = s;
        }
      }
      EXPECT_EQ(last, 59);
      if (budget == 10000) {
        EXPECT_EQ(packs.size(), static_cast<size_t>(spread));
      }
    }
  }
}

TEST(Packing, GivesASequenceLongerThanTheBudgetAMicroBatchOfItsOwn) {
  const std::vector<Sequence> s = {sequence({1, 2}, {}), sequence({1, 2, 3, 4, 5, 6}, {}), sequence({1, 2}, {})};
  const auto packs = pack(s, {HeadRows::every_token, 3});
  ASSERT_EQ(packs.size(), 3u);
  EXPECT_EQ(packs[1].ids.size(), 5u);
}

TEST(Packing, NeverSeparatesAPair) {
  const TrainBatch b = random_batch(4, 40, 19);
  PackRules r{HeadRows::last_token, 45};
  r.group = 2;
  const auto packs = pack(b.sequences, r);
  EXPECT_GT(packs.size(), 4u);
  size_t rows = 0;
  for (const MicroBatch& m : packs) {
    ASSERT_EQ(m.rows.size() % 2, 0u);
    rows += m.rows.size();
    for (size_t i = 0; i < m.rows.size(); i += 2) {
      EXPECT_EQ(m.row_sequence[i] % 2, 0);
      EXPECT_EQ(m.row_sequence[i] + 1, m.row_sequence[i + 1]);
    }
  }
  EXPECT_EQ(rows, 40u);
}

}  // namespace
}  // namespace r1::test
