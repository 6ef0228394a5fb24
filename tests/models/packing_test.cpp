#include "models/training/packing.h"

#include <gtest/gtest.h>

#include <algorithm>

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

PackRules sharing(HeadRows rows, int64_t budget) {
  PackRules r{rows, budget};
  r.share_prompts = true;
  return r;
}

TEST(Packing, PacksAPromptOnceForAllThatBeginWithIt) {
  const std::vector<Sequence> s = {sequence({5, 6, 7, 8, 9}, {0, 0, 0, 1, 1}), sequence({5, 6, 7, 8, 4}, {0, 0, 0, 1, 1}),
                                   sequence({5, 6, 1, 2}, {0, 0, 0, 1})};
  const auto packs = pack(s, sharing(HeadRows::trainable, 100));
  ASSERT_EQ(packs.size(), 1u);
  const MicroBatch& m = packs[0];
  // Row 2 predicts, so each has its own: it goes through the head once for every sequence.
  EXPECT_EQ(m.ids, (std::vector<int32_t>{5, 6, 7, 8, 7, 8, 1}));
  EXPECT_EQ(m.positions, (std::vector<int32_t>{0, 1, 2, 3, 2, 3, 2}));
  EXPECT_EQ(m.seen, (std::vector<int32_t>{0, 1, 2, 3, 0, 1, 4, 5, 0, 1, 6}));
  EXPECT_EQ(m.own, (std::vector<int32_t>{0, 4, 6, 7}));
  EXPECT_EQ(m.offsets, (std::vector<int32_t>{0, 4, 8, 11}));
  EXPECT_EQ(m.rows, (std::vector<int32_t>{2, 3, 4, 5, 6}));
  EXPECT_EQ(m.targets, (std::vector<int32_t>{8, 9, 8, 4, 2}));
  EXPECT_EQ(m.row_sequence, (std::vector<int32_t>{0, 0, 1, 1, 2}));
  EXPECT_EQ(m.row_token, (std::vector<int32_t>{3, 4, 3, 4, 3}));
}

TEST(Packing, LeavesRowsAloneWhereLessThanAnEighthIsShared) {
  const auto long_one = [](int32_t last) {
    Sequence s;
    for (int32_t i = 0; i < 18; ++i) s.tokens.push_back(i < 3 ? i : last), s.trainable.push_back(i >= 3);
    return s;
  };
  const auto share = [&](size_t sequences) {
    std::vector<Sequence> s;
    for (size_t i = 0; i < sequences; ++i) s.push_back(long_one(static_cast<int32_t>(100 + i)));
    const auto packs = pack(s, sharing(HeadRows::trainable, 1000));
    return packs.size() == 1 && !packs[0].seen.empty();
  };
  // Two of seventeen rows, but for the first.
  EXPECT_FALSE(share(2));
  EXPECT_FALSE(share(40));
  const std::vector<Sequence> s = {sequence({1, 2, 3}, {0, 0, 1}), sequence({1, 2, 4}, {0, 0, 1})};
  EXPECT_FALSE(pack(s, sharing(HeadRows::trainable, 100))[0].seen.empty());
  EXPECT_TRUE(pack(s, {HeadRows::trainable, 100})[0].seen.empty()) << "where nobody asked";
}

TEST(Packing, CutsGroupsWithinTheBudgetAndPacksThePromptAgainBehindACut) {
  TrainBatch b = grouped_batch(8, 12, 8, 19);
  Rng(3, "order").shuffle(b.sequences);
  for (const int64_t budget : {20, 60, 200, 5000}) {
    const auto packs = pack(b.sequences, sharing(HeadRows::trainable, budget));
    std::vector<int> times(b.sequences.size());
    int64_t rows = 0;
    for (const MicroBatch& m : packs) {
      const bool shared = !m.seen.empty();
      const auto seen = static_cast<int64_t>(shared ? m.seen.size() : m.ids.size());
      EXPECT_LE(static_cast<int64_t>(m.ids.size()), budget);
      EXPECT_LE(seen, kMostSeenRows * budget);
      EXPECT_EQ(m.offsets.back(), seen);
      rows += static_cast<int64_t>(m.ids.size());
      // Attention sees every sequence whole, and every row is somebody's.
      std::vector<uint8_t> used(m.ids.size());
      size_t at = 0;
      for (size_t q = 0; q + 1 < m.offsets.size(); ++q) {
        const auto owner = static_cast<size_t>(m.row_sequence[at]);
        const Sequence& s = b.sequences[owner];
        ++times[owner];
        const auto begin = static_cast<size_t>(m.offsets[q]), end = static_cast<size_t>(m.offsets[q + 1]);
        ASSERT_EQ(end - begin, s.tokens.size() - 1);
        for (size_t i = 0; i < end - begin; ++i) {
          const auto row = shared ? static_cast<size_t>(m.seen[begin + i]) : begin + i;
          used[row] = 1;
          EXPECT_EQ(m.ids[row], s.tokens[i]);
          EXPECT_EQ(m.positions[row], static_cast<int32_t>(i));
          if (s.trainable[i + 1]) {
            EXPECT_EQ(m.rows[at], static_cast<int32_t>(row));
            EXPECT_EQ(m.targets[at], s.tokens[i + 1]);
            ++at;
          }
        }
      }
      EXPECT_EQ(at, m.rows.size());
      EXPECT_EQ(std::count(used.begin(), used.end(), 0), 0);
      // A sequence's own rows are its last ones, and each is one sequence's.
      for (size_t q = 0; q + 1 < m.own.size(); ++q)
        for (int32_t i = 1; i <= m.own[q + 1] - m.own[q]; ++i)
          EXPECT_EQ(m.seen[static_cast<size_t>(m.offsets[q + 1] - i)], m.own[q + 1] - i);
      EXPECT_EQ(m.own.empty(), m.seen.empty());
      if (shared) {
        EXPECT_EQ(m.own.back(), static_cast<int32_t>(m.ids.size()));
      }
    }
    EXPECT_EQ(std::count(times.begin(), times.end(), 1), static_cast<int64_t>(times.size())) << budget;
    int64_t alone = 0;
    for (const MicroBatch& m : pack(b.sequences, {HeadRows::trainable, budget})) alone += static_cast<int64_t>(m.ids.size());
    EXPECT_LT(static_cast<double>(rows), (budget == 20   ? 1.0
                                          : budget == 60 ? 0.75
                                                         : 0.65) *
                                             static_cast<double>(alone))
        << budget;
  }
}

TEST(Packing, CutsAGroupWhoseKeysAreTooManyThoughItsRowsAreFew) {
  std::vector<Sequence> s(40);
  for (size_t i = 0; i < s.size(); ++i) {
    s[i].tokens.assign(51, 7);
    s[i].tokens.back() = static_cast<int32_t>(i);
    s[i].trainable.assign(51, 0);
    s[i].trainable.back() = 1;
  }
  constexpr int64_t kBudget = 100;
  const auto packs = pack(s, sharing(HeadRows::trainable, kBudget));  // 49 shared rows and one of each
  EXPECT_EQ(packs.size(), 40u * 50 / (kMostSeenRows * kBudget));
  for (const MicroBatch& m : packs) {
    EXPECT_LE(static_cast<int64_t>(m.seen.size()), kMostSeenRows * kBudget);
    EXPECT_EQ(m.ids.size(), 49 + m.seen.size() / 50);
  }
}

TEST(Packing, SharesThePromptOfAPair) {
  const std::vector<Sequence> s = {sequence({1, 2, 3, 4}, {}), sequence({1, 2, 3, 5}, {}), sequence({1, 2, 6}, {}),
                                   sequence({1, 2}, {})};
  PackRules r = sharing(HeadRows::last_token, 100);
  r.group = 2;
  const auto packs = pack(s, r);
  ASSERT_EQ(packs.size(), 1u);
  EXPECT_EQ(packs[0].ids, (std::vector<int32_t>{1, 2, 3, 4, 5, 6, 2}));
  EXPECT_EQ(packs[0].seen, (std::vector<int32_t>{0, 1, 2, 3, 0, 1, 2, 4, 0, 1, 5, 0, 6}));
  EXPECT_EQ(packs[0].rows, (std::vector<int32_t>{3, 4, 5, 6}));
}

}  // namespace
}  // namespace r1::test
