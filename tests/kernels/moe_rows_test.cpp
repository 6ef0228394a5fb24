// What the table of cases does not show of mixtures of experts: which experts are chosen, and that grouped rows have dense
// rows' bits.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/kernels/op_cases.h"
#include "tests/kernels/test_devices.h"

namespace r1::test {
namespace {

class Moe : public testing::TestWithParam<std::string> {
 protected:
  Device& device_ = open_device(GetParam());
  Context ctx_{device_};
  Buffers b_{device_, 3};

  std::vector<double> route(const std::vector<double>& logits, const std::vector<double>& bias, int64_t k, int groups,
                            int top_groups, std::vector<double>* weights = nullptr) {
    const auto e = static_cast<int64_t>(logits.size());
    const View experts = b_.out(DType::i32, {1, k}), w = b_.out(DType::f32, {1, k});
    run(ctx_, MoeRoute{b_.values(DType::f32, {1, e}, logits), bias.empty() ? View{} : b_.values(DType::f32, {e}, bias),
                       b_.out(DType::f32, {1, e}), experts, w, groups, top_groups});
    if (weights) *weights = read_values(w);
    return read_values(experts);
  }
};
using Chosen = std::vector<double>;

TEST_P(Moe, equal_scores_go_to_the_lower_index) { EXPECT_EQ(route({0, 1, 0, 1, 0, 1}, {}, 4, 1, 1), (Chosen{1, 3, 5, 0})); }

TEST_P(Moe, bias_changes_the_selection_but_not_the_weights) {
  std::vector<double> weights;
  EXPECT_EQ(route({2, 1, 0, -1}, {0, 0, 0, 9}, 2, 1, 1, &weights), (Chosen{3, 0}));
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  EXPECT_NEAR(weights[0], sigmoid(-1) / (sigmoid(-1) + sigmoid(2)), 1e-6);
}

TEST_P(Moe, only_experts_of_the_best_groups_are_chosen) {
  // Sums of the two best of each group of three: 0.95+0.5, 0.88+0.73, ...: the second group wins although it lacks the best
  // expert.
  EXPECT_EQ(route({3, 0, -9, 2, 1, -9, -1, -1, -1}, {}, 2, 3, 1), (Chosen{3, 4}));
  // Equal groups: the lower ones stay.
  EXPECT_EQ(route({1, 0, 1, 0, 1, 0}, {}, 3, 3, 2), (Chosen{0, 2, 1}));
}

TEST_P(Moe, bias_rises_for_idle_experts_and_falls_for_busy_ones) {
  const View bias = b_.inout_values(DType::f32, {4}, {0.5, 0, 0, -0.25});
  run(ctx_, MoeBiasUpdate{bias, b_.values(DType::f32, {4}, {9, 4, 3, 0}), 0.125f});
  EXPECT_EQ(read_values(bias), (std::vector<double>{0.375, 0, 0.125, -0.125}));
}

INSTANTIATE_TEST_SUITE_P(On, Moe, testing::ValuesIn(test_devices(true)),
                         [](const auto& i) { return device_test_name(i.param); });

TEST_P(Moe, equal_groups_and_equal_scores_count_once_in_the_balance_loss) {
  // The two chosen of each row are experts 0 and 1, ties and all: f = (2, 2, 0, 0), P = (1/4, ...).
  const View dscores = b_.out(DType::f32, {2, 4}), loss = b_.inout_values(DType::f32, {1}, {1});
  run(ctx_,
      MoeBalanceLoss{b_.values(DType::f32, {2, 4}, std::vector<double>(8, 0.5)), b_.ints({2}, {0, 2}), dscores, loss, 2, 0.5f});
  EXPECT_FLOAT_EQ(static_cast<float>(read_values(loss)[0]), 1 + 0.5f * (2 * 0.25f + 2 * 0.25f));
}

TEST_P(Moe, logits_that_are_no_numbers_still_choose_experts) {
  for (const int64_t e : {int64_t{6}, int64_t{16}, int64_t{40}}) {
    Buffers b(device_, 1);
    std::vector<double> logits;
    for (int64_t i = 0; i < 4 * e; ++i) {
      const double odd[] = {NAN, INFINITY, -INFINITY};
      logits.push_back(i < e ? NAN : odd[b.rng().below(3)]);
    }
    const View experts = b.out(DType::i32, {4, 3});
    run(ctx_, MoeRoute{b.values(DType::f32, {4, e}, logits), View{}, b.out(DType::f32, {4, e}), experts,
                       b.out(DType::f32, {4, 3}), 2, 1});
    for (const double x : read_values(experts)) EXPECT_TRUE(0 <= x && x < static_cast<double>(e)) << x;
    EXPECT_TRUE(b.damage().empty());
  }
}

// T tokens of K numbers, each to some of E experts of N columns.
struct Layer {
  static constexpr int64_t kExperts = 5, kCopies = 2;
  DType f;
  int64_t t, k, n;
};

class GroupedRows {
 public:
  GroupedRows(Device& device, const Layer& layer, uint64_t seed)
      : ctx_(device),
        l_(layer),
        b_(device, seed),
        x_(b_.in(l_.f, {l_.t, l_.k})),
        w_(b_.in(l_.f, {Layer::kExperts, l_.n, l_.k})) {
    // The first two experts are busier, the last one idle.
    for (int64_t a = 0; a < l_.t * Layer::kCopies; ++a)
      chosen_.push_back(static_cast<int64_t>(b_.rng().below(a % 2 ? Layer::kExperts - 1 : 2)));
  }

  // y of the assignments of `tokens`, in that order: each a row's bytes.
  std::vector<std::vector<std::byte>> run_tokens(const std::vector<int64_t>& tokens) {
    const auto t = static_cast<int64_t>(tokens.size()), m = t * Layer::kCopies;
    std::vector<int64_t> chosen;
    for (const int64_t token : tokens)
      for (int64_t j = 0; j < Layer::kCopies; ++j) chosen.push_back(chosen_[static_cast<size_t>(token * Layer::kCopies + j)]);
    const View some = b_.out(l_.f, {t, l_.k}), slots = b_.out(DType::i32, {m}),
               places = b_.out(DType::i32, {t, Layer::kCopies}), offsets = b_.out(DType::i32, {Layer::kExperts + 1}),
               y = b_.out(l_.f, {m, l_.n});
    run(ctx_, GatherRows{x_, b_.ints({t}, tokens), some});
    run(ctx_, MoeSort{b_.ints({t, Layer::kCopies}, chosen), slots, places, offsets});
    run(ctx_, GroupedLinear{some, w_, offsets, slots, y, Layer::kCopies});
    std::vector<std::vector<std::byte>> rows;
    for (const double place : read_values(places))
      rows.push_back(read_bytes(y.slice(static_cast<int64_t>(place), static_cast<int64_t>(place) + 1)));
    return rows;
  }

  // The row that Linear gives assignment a, alone.
  std::vector<std::byte> linear_row(int64_t a) {
    const View y = b_.out(l_.f, {1, l_.n});
    const int64_t e = chosen_[static_cast<size_t>(a)], token = a / Layer::kCopies;
    run(ctx_, Linear{x_.slice(token, token + 1), w_.reshape({Layer::kExperts * l_.n, l_.k}).slice(e * l_.n, (e + 1) * l_.n),
                     View{}, y});
    return read_bytes(y);
  }

 private:
  Context ctx_;
  Layer l_;
  Buffers b_;
  View x_, w_;
  std::vector<int64_t> chosen_;
};

class GroupedLinearRows : public testing::TestWithParam<std::tuple<std::string, DType>> {
 protected:
  Device& device_ = open_device(std::get<0>(GetParam()));
  const DType f_ = std::get<1>(GetParam());
};

// Depths of one and several slices of bf16, outputs of one and two tiles of columns, and under 32 columns.
TEST_P(GroupedLinearRows, have_the_bits_of_linear_with_their_experts_weights) {
  for (const auto& [k, n] : {std::pair<int64_t, int64_t>{96, 72}, {96, 24}, {600, 560}})
    for (const int64_t t : {1, 3, 17, 64, 150}) {
      GroupedRows rows(device_, {f_, t, k, n}, static_cast<uint64_t>(t));
      std::vector<int64_t> tokens(static_cast<size_t>(t));
      std::iota(tokens.begin(), tokens.end(), int64_t{0});
      const auto y = rows.run_tokens(tokens);
      for (int64_t a = 0; a < t * Layer::kCopies; a += emulated(device_) ? 101 : 1)
        ASSERT_EQ(y[static_cast<size_t>(a)], rows.linear_row(a))
            << "T=" << t << " K=" << k << " N=" << n << " assignment " << a;
    }
}

TEST_P(GroupedLinearRows, have_the_same_bits_in_any_company_and_order) {
  constexpr int64_t kTokens = 300;  // more than a tile of rows for the busy experts
  for (const auto& [k, n] : {std::pair<int64_t, int64_t>{96, 72}, {520, 40}}) {
    GroupedRows rows(device_, {f_, kTokens, k, n}, 9);
    std::vector<int64_t> tokens(kTokens);
    std::iota(tokens.begin(), tokens.end(), int64_t{0});
    const auto whole = rows.run_tokens(tokens);
    Rng rng(4, "company");
    for (const int64_t some : {1, 2, 15, 16, 40, 150, 299, 300}) {
      rng.shuffle(tokens);
      const std::vector<int64_t> part(tokens.begin(), tokens.begin() + some);
      const auto y = rows.run_tokens(part);
      for (size_t a = 0; a < y.size(); ++a)
        ASSERT_EQ(y[a], whole[static_cast<size_t>(part[a / 2] * 2) + a % 2]) << some << " tokens, K=" << k << " N=" << n;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(On, GroupedLinearRows,
                         testing::Combine(testing::ValuesIn(test_devices()), testing::ValuesIn(kFloatTypes)),
                         [](const auto& i) {
                           return device_test_name(std::get<0>(i.param)) + "_" + dtype_name(std::get<1>(i.param));
                         });

// Backward of a group of experts is the backward of each, bit for bit, also where rows and columns take several tiles.
TEST_P(GroupedLinearRows, have_the_gradients_of_linear_for_each_expert) {
  const DType f = f_;
  constexpr int64_t kRows = 420, kIn = 560, kOut = 270;
  Context ctx(device_);
  Buffers b(device_, 2);
  const std::vector<int64_t> at = {0, 300, 300, 317, kRows};
  const View dy = b.in(f, {kRows, kOut}), x = b.in(f, {kRows, kIn}), w = b.in(f, {4, kOut, kIn}), offsets = b.ints({5}, at);
  const View dx = b.out(f, {kRows, kIn}), dw = b.inout(DType::f32, {4, kOut, kIn});
  const View start = b.values(DType::f32, {4 * kOut, kIn}, read_values(dw));
  run(ctx, GroupedLinearBackwardInput{dy, w, offsets, dx});
  run(ctx, GroupedLinearBackwardWeight{dy, x, offsets, View{}, dw});
  for (int64_t e = 0; e < 4; ++e) {
    const int64_t begin = at[static_cast<size_t>(e)], end = at[static_cast<size_t>(e) + 1];
    const auto of_expert = [&](const View& v) { return v.reshape({4 * kOut, kIn}).slice(e * kOut, (e + 1) * kOut); };
    const View one_dx = b.out(f, {end - begin, kIn}), one_dw = of_expert(start);
    run(ctx, LinearBackwardInput{dy.slice(begin, end), of_expert(w), one_dx});
    run(ctx, LinearBackwardWeight{dy.slice(begin, end), x.slice(begin, end), one_dw, View{}});
    EXPECT_EQ(read_bytes(dx.slice(begin, end)), read_bytes(one_dx)) << dtype_name(f) << " expert " << e;
    EXPECT_EQ(read_bytes(of_expert(dw)), read_bytes(one_dw)) << dtype_name(f) << " expert " << e;
  }
}

}  // namespace
}  // namespace r1::test
