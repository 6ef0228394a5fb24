// What Sample promises beyond agreeing with the reference: LogProb's bits, the right frequencies, the right support.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tests/kernels/op_cases.h"
#include "tests/kernels/test_devices.h"

namespace r1::test {
namespace {

class SampleOn : public testing::TestWithParam<std::string> {
 protected:
  Device& device_ = open_device(GetParam());
  Context ctx_{device_};
  Buffers b_{device_, 9};

  struct Draw {
    std::vector<double> token, logp, entropy;
  };
  Draw draw(const View& logits, const std::vector<double>& temperature, int top_k, float top_p, uint64_t seed) {
    const int64_t r_n = logits.shape[0];
    std::vector<int64_t> keys, positions;
    for (int64_t r = 0; r < r_n; ++r) {
      keys.push_back(static_cast<int64_t>(rng_key(seed, "sample test", static_cast<uint64_t>(r) / 100)));
      positions.push_back(r % 100);
    }
    Buffers b(device_, 0);
    Sample op{logits,
              b.ints({r_n}, keys, DType::i64),
              b.ints({r_n}, positions),
              b.values(DType::f32, {r_n}, temperature),
              b.out(DType::i32, {r_n}),
              b.out(DType::f32, {r_n}),
              b.out(DType::f32, {r_n}),
              top_k,
              top_p};
    run(ctx_, op);
    return {read_values(op.token), read_values(op.logp), read_values(op.entropy)};
  }
};

TEST_P(SampleOn, its_log_probabilities_are_log_probs_bits_whatever_the_truncation) {
  const int64_t rows = emulated(device_) ? 3 : 33;
  const auto n = static_cast<size_t>(rows);
  for (DType f : kFloatTypes)
    for (const int64_t v_n : {5, 137, 1030, 2049})
      for (const float temperature : {1.0f, 0.6f, 0.0f}) {
        const View logits = b_.in(f, {rows, v_n}, {}, 3);
        for (const auto& [top_k, top_p] : {std::pair<int, float>{0, 1.0f}, {7, 1.0f}, {0, 0.8f}, {20, 0.9f}}) {
          const Draw d = draw(logits, std::vector<double>(n, temperature), top_k, top_p, 4);
          std::vector<int64_t> targets;
          for (double t : d.token) targets.push_back(static_cast<int64_t>(t));
          Buffers b(device_, 0);
          LogProb op{logits,
                     b.ints({rows}, targets),
                     b.out(DType::f32, {rows}),
                     b.out(DType::f32, {rows}),
                     b.out(DType::f32, {rows}),
                     temperature == 0 ? 1.0f : temperature};
          run(ctx_, op);
          EXPECT_EQ(read_values(op.logp), d.logp) << v_n << " at temperature " << temperature;
          EXPECT_EQ(read_values(op.entropy), d.entropy) << v_n << " at temperature " << temperature;
        }
      }
}

TEST_P(SampleOn, tokens_come_as_often_as_their_probability_says) {
  const int64_t n = emulated(device_) ? 100 : 20000, v_n = 6;
  const std::vector<double> logits = {0.5, -1, 2, 1.9, -3, 0};
  const double temperature = 1.3;
  std::vector<double> rows;
  for (int64_t r = 0; r < n; ++r) rows.insert(rows.end(), logits.begin(), logits.end());
  const View view = b_.values(DType::f32, {n, v_n}, rows);
  struct Truncation {
    int top_k;
    float top_p;
    std::set<int> support;
  };
  // p at temperature 1.3: about 0.12, 0.04, 0.39, 0.36, 0.01, 0.08 (tokens 0..5).
  for (const Truncation& t : {Truncation{0, 1.0f, {0, 1, 2, 3, 4, 5}},
                              {3, 1.0f, {0, 2, 3}},
                              {0, 0.8f, {0, 2, 3}},
                              {0, 0.6f, {2, 3}},
                              {2, 0.5f, {2}},
                              {1, 1.0f, {2}},
                              {99, 1.0f, {0, 1, 2, 3, 4, 5}}}) {
    const Draw d = draw(view, std::vector<double>(n, temperature), t.top_k, t.top_p, 8);
    std::vector<double> count(v_n, 0.0);
    for (double token : d.token) ++count[static_cast<size_t>(token)];
    double total = 0;
    for (int v : t.support) total += std::exp(logits[static_cast<size_t>(v)] / temperature);
    for (int v = 0; v < v_n; ++v) {
      const double p = t.support.count(v) ? std::exp(logits[static_cast<size_t>(v)] / temperature) / total : 0;
      EXPECT_NEAR(count[static_cast<size_t>(v)] / n, p, 5 * std::sqrt(p * (1 - p) / n))
          << "token " << v << " top_k " << t.top_k << " top_p " << t.top_p;
    }
  }
}

TEST_P(SampleOn, greedy_takes_the_first_of_the_highest) {
  const View logits = b_.values(DType::f32, {2, 5}, {1, 3, 2, 3, 3, -1, -1, -1, -1, -1});
  EXPECT_EQ(draw(logits, {0, 0}, 0, 1.0f, 1).token, (std::vector<double>{1, 0}));
  EXPECT_EQ(draw(logits, {0, 0}, 2, 0.5f, 1).token, (std::vector<double>{1, 0}));
}

TEST_P(SampleOn, ties_at_the_edge_of_top_k_go_to_the_lower_index) {
  std::vector<double> rows;
  for (int r = 0; r < 200; ++r) rows.insert(rows.end(), {1, 2, 1, 1, 2});
  const Draw d = draw(b_.values(DType::f32, {200, 5}, rows), std::vector<double>(200, 1.0), 3, 1.0f, 3);
  EXPECT_EQ(std::set<double>(d.token.begin(), d.token.end()), (std::set<double>{0, 1, 4}));
}

TEST_P(SampleOn, the_draw_depends_on_key_and_position_only) {
  const View logits = b_.values(DType::f32, {400, 3}, std::vector<double>(1200, 0.0));
  const std::vector<double> t(400, 1.0);
  EXPECT_EQ(draw(logits, t, 0, 1.0f, 5).token, draw(logits, t, 0, 1.0f, 5).token);
  EXPECT_NE(draw(logits, t, 0, 1.0f, 5).token, draw(logits, t, 0, 1.0f, 6).token);
  const auto token = draw(logits, t, 0, 1.0f, 5).token;
  EXPECT_GT(std::set<double>(token.begin(), token.begin() + 100).size(), 1u) << "positions of one key differ";
}

// NaN in any column, whatever stands around it; +inf too. -inf is a token of no probability.
TEST_P(SampleOn, nothing_hides_a_logit_that_is_no_number) {
  const auto expect_nan = [&](const std::vector<double>& x, const std::string& what) {
    for (const double v : x) EXPECT_TRUE(std::isnan(v)) << what << ": " << v;
  };
  for (DType f : kFloatTypes)
    for (const int64_t v_n : {5, 64, 137, 2049})
      for (const double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)})
        for (const int64_t at : {int64_t{0}, v_n / 2, v_n - 2, v_n - 1})
          for (const int64_t target : {int64_t{0}, v_n - 1}) {
            std::vector<double> row(static_cast<size_t>(v_n));
            for (int64_t v = 0; v < v_n; ++v) row[static_cast<size_t>(v)] = static_cast<double>(v * 7 % 11) - 5;
            row[static_cast<size_t>(at)] = bad;
            const std::string what = std::to_string(v_n) + " columns, " + std::to_string(bad) + " at " + std::to_string(at);
            Buffers b(device_, 0);
            const View logits = b.values(f, {1, v_n}, row);
            LogProb op{logits, b.ints({1}, {target}), b.out(DType::f32, {1}), b.out(DType::f32, {1}), b.out(DType::f32, {1}),
                       1};
            run(ctx_, op);
            expect_nan(read_values(op.logp), "LogProb, " + what);
            expect_nan(read_values(op.lse), "LogProb's lse, " + what);
            expect_nan(read_values(op.entropy), "LogProb's entropy, " + what);
            for (const auto& [top_k, top_p] : {std::pair<int, float>{0, 1.0f}, {3, 1.0f}, {0, 0.8f}})
              for (const double temperature : {1.0, 0.7, 0.0})
                expect_nan(draw(logits, {temperature}, top_k, top_p, 4).logp, "Sample, " + what);
          }
  const double none = -INFINITY;
  const Draw d = draw(b_.values(DType::f32, {1, 5}, {none, 1, none, 2, none}), {1}, 0, 1.0f, 4);
  EXPECT_TRUE(d.token[0] == 1 || d.token[0] == 3);
  EXPECT_TRUE(std::isfinite(d.logp[0]));
}

INSTANTIATE_TEST_SUITE_P(Device, SampleOn, testing::ValuesIn(test_devices(true)),
                         [](const auto& i) { return device_test_name(i.param); });

}  // namespace
}  // namespace r1::test
