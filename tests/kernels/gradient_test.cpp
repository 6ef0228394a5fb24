// The reference's backward ops against finite differences of its forward ops, for every input and parameter.
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <set>

#include "tests/kernels/gradient_fixture.h"
#include "tests/kernels/gradient_list.h"

namespace r1::test {
namespace {

TEST_F(Gradient, the_check_itself_sees_a_wrong_gradient) {
  const View x = b_.inout(f32, {3});
  const auto p = probe(x);
  const auto loss = [&] { return dot(p, read_values(x)); };
  expect_gradient("right", x, p, loss);
  auto wrong = p;
  wrong[1] *= 1.001;
  wrong[1] += 0.01;
  EXPECT_NONFATAL_FAILURE(expect_gradient("wrong", x, wrong, loss), "wrong element 1");
}

TEST_F(Gradient, of_embedding) {
  const View ids = b_.ints({6}, {2, 0, 2, 1, 4, 2}), table = b_.inout(f32, {5, 3}), y = b_.out(f32, {6, 3});
  const auto p = probe(y);
  const View dtable = zeros({5, 3});
  run_op(EmbeddingBackward{ids, given(y, p), dtable});
  expect_gradient("table", table, read_values(dtable), [&] {
    run_op(Embedding{ids, table, y});
    return dot(p, read_values(y));
  });
}

TEST_F(Gradient, of_linear) {
  const View x = b_.inout(f32, {4, 5}), w = b_.inout(f32, {3, 5}), bias = b_.inout(f32, {3}), y = b_.out(f32, {4, 3});
  const auto p = probe(y);
  const View dy = given(y, p), dx = b_.out(f32, {4, 5}), dw = zeros({3, 5}), db = zeros({3});
  run_op(LinearBackwardInput{dy, w, dx});
  run_op(LinearBackwardWeight{dy, x, dw, db});
  const auto loss = [&] {
    run_op(Linear{x, w, bias, y});
    return dot(p, read_values(y));
  };
  expect_gradient("x", x, read_values(dx), loss);
  expect_gradient("w", w, read_values(dw), loss);
  expect_gradient("bias", bias, read_values(db), loss);
}

TEST_F(Gradient, of_rms_norm) {
  for (const Shape& shape : {Shape{4, 6}, Shape{3, 2, 5}}) {
    const Shape rows(shape.begin(), shape.end() - 1);
    const View x = b_.inout(f32, shape), w = b_.inout(f32, {shape.back()}), y = b_.out(f32, shape), rstd = b_.out(f32, rows);
    const auto p = probe(y);
    run_op(RmsNorm{x, w, y, rstd, 1e-3f});
    const View dx = b_.out(f32, shape), dw = zeros({shape.back()});
    run_op(RmsNormBackward{x, w, rstd, given(y, p), dx, dw});
    const auto loss = [&] {
      run_op(RmsNorm{x, w, y, rstd, 1e-3f});
      return dot(p, read_values(y));
    };
    const auto claimed_x = read_values(dx), claimed_w = read_values(dw);
    expect_gradient("x", x, claimed_x, loss);
    expect_gradient("w", w, claimed_w, loss);
  }
}

TEST_F(Gradient, of_rope) {
  for (const bool interleaved : {false, true}) {
    const View positions = b_.ints({3}, {0, 4, 1});
    std::vector<double> angles;
    for (int p = 0; p < 5; ++p)
      for (int i = 0; i < 4; ++i) angles.push_back(i < 2 ? std::cos(p * (i + 0.3)) : std::sin(p * (i - 2 + 0.3)));
    const View table = b_.values(f32, {5, 4}, angles);
    const View x = b_.inout(f32, {3, 2, 6});
    const auto p = probe(x);
    const View dx = b_.inout_values(f32, {3, 2, 6}, p);
    run_op(Rope{dx, positions, table, interleaved, true});
    expect_gradient(interleaved ? "x interleaved" : "x", x, read_values(dx), [&] {
      const View y = b_.inout_values(f32, {3, 2, 6}, read_values(x));
      run_op(Rope{y, positions, table, interleaved, false});
      return dot(p, read_values(y));
    });
  }
}

TEST_F(Gradient, of_swiglu) {
  const View gate_up = b_.inout(f32, {3, 10}), y = b_.out(f32, {3, 5}), d_gate_up = b_.out(f32, {3, 10});
  const auto p = probe(y);
  run_op(SwiGluBackward{gate_up, given(y, p), d_gate_up});
  expect_gradient("gate_up", gate_up, read_values(d_gate_up), [&] {
    run_op(SwiGlu{gate_up, y});
    return dot(p, read_values(y));
  });
}

TEST_F(Gradient, of_gather_rows) {
  const View rows = b_.ints({5}, {3, 3, 0, 1, 3}), x = b_.inout(f32, {4, 3}), y = b_.out(f32, {5, 3}), dx = zeros({4, 3});
  const auto p = probe(y);
  run_op(GatherRowsBackward{rows, given(y, p), dx});
  expect_gradient("x", x, read_values(dx), [&] {
    run_op(GatherRows{x, rows, y});
    return dot(p, read_values(y));
  });
}

TEST_F(Gradient, of_attention_with_grouped_heads_and_other_value_size) {
  const int64_t t = 25, hq = 4, hk = 2, d = 6, dv = 5;
  const float scale = 0.4f;
  const View q = b_.inout(f32, {t, hq, d}), k = b_.inout(f32, {t, hk, d}), v = b_.inout(f32, {t, hk, dv});
  const View o = b_.out(f32, {t, hq, dv}), lse = b_.out(f32, {t, hq}), offsets = b_.ints({4}, {0, 4, 5, t});
  const auto p = probe(o);
  const AttentionPacked forward{q, k, v, o, lse, offsets, scale};
  run_op(forward);
  const View dq = b_.out(f32, {t, hq, d}), dk = b_.out(f32, {t, hk, d}), dv_view = b_.out(f32, {t, hk, dv});
  run_op(AttentionPackedBackward{q, k, v, o, lse, given(o, p), dq, dk, dv_view, offsets, scale});
  const auto loss = [&] {
    run_op(forward);
    return dot(p, read_values(o));
  };
  expect_gradient("q", q, read_values(dq), loss);
  expect_gradient("k", k, read_values(dk), loss);
  expect_gradient("v", v, read_values(dv_view), loss);
}

TEST_F(Gradient, of_log_prob) {
  for (const float temperature : {1.0f, 0.7f}) {
    const View logits = b_.inout(f32, {3, 7}), targets = b_.ints({3}, {6, 0, 3});
    const View logp = b_.out(f32, {3}), lse = b_.out(f32, {3}), dlogits = b_.out(f32, {3, 7});
    const auto p = probe(logp);
    run_op(LogProb{logits, targets, logp, lse, {}, temperature});
    run_op(LogProbBackward{logits, targets, lse, given(logp, p), dlogits, temperature});
    expect_gradient("logits", logits, read_values(dlogits), [&] {
      run_op(LogProb{logits, targets, logp, lse, {}, temperature});
      return dot(p, read_values(logp));
    });
  }
}

// Both sides of both clip bounds, away from the kinks by more than the two steps of the difference.
TEST_F(Gradient, of_grpo_loss) {
  const std::vector<double> logp = {-1, -1, -1, -1, -1, -1, -2, -2};
  const std::vector<double> ratio = {0.4, 0.4, -0.5, -0.5, 0.0, 0.01, 0.02, 0.5};  // logp - anchor
  const std::vector<double> advantage = {1, -1, 1, -1, 1.5, -0.5, 0, 2};
  for (int form = 0; form < 4; ++form) {
    std::vector<double> anchor, other, reference;
    for (size_t i = 0; i < logp.size(); ++i) {
      anchor.push_back(logp[i] - ratio[i]);
      other.push_back(anchor.back() + (i % 2 ? 0.3 : -0.2));
      reference.push_back(logp[i] + (i % 3 ? 0.4 : -0.6));
    }
    const int64_t t = static_cast<int64_t>(logp.size());
    GrpoLoss op;
    op.logp = b_.inout_values(f32, {t}, logp);
    op.behaviour = b_.values(f32, {t}, form & 2 ? other : anchor);
    if (form & 1) op.reference = b_.values(f32, {t}, reference);
    if (form & 2) op.proximal = b_.values(f32, {t}, anchor);
    op.advantage = b_.values(f32, {t}, advantage);
    op.weight = b_.values(f32, {t}, {0.5, 0.25, 0.3, 1, 0.7, 0.2, 0, 0.4});
    op.dlogp = b_.out(f32, {t});
    op.kl = 0.3f;
    op.behave_cap = 1.1f;
    const auto evaluate = [&] {
      op.loss = zeros({1});
      op.stats = zeros({6});
      run_op(op);
      return read_values(op.loss)[0];
    };
    evaluate();
    const auto stats = read_values(op.stats);
    EXPECT_EQ(stats[0], 7);  // tokens of weight != 0
    EXPECT_EQ(stats[1], 3);  // 0: A>0 and above; 3: A<0 and below; 7: A>0 and above
    expect_gradient("logp", op.logp, read_values(op.dlogp), evaluate);
  }
}

// One ratio per sequence: a token's gradient comes from all tokens of its sequence, whatever their weights and advantages.
TEST_F(Gradient, of_grpo_loss_by_sequence) {
  const std::vector<double> logp = {-1, -2, -1.5, -1, -1, -0.7, -2, -3, -1};
  const std::vector<double> ratio = {0.3, -0.1, 9, 0.5, 0.6, -0.5, -0.6, -0.2, 0.1};  // logp - anchor; the third does not count
  for (int form = 0; form < 4; ++form) {
    std::vector<double> anchor, other, reference;
    for (size_t i = 0; i < logp.size(); ++i) {
      anchor.push_back(logp[i] - ratio[i]);
      other.push_back(anchor.back() + (i % 2 ? 0.3 : -0.5));
      reference.push_back(logp[i] + (i % 3 ? 0.4 : -0.6));
    }
    GrpoLoss op;
    op.logp = b_.inout_values(f32, {9}, logp);
    op.behaviour = b_.values(f32, {9}, form & 2 ? other : anchor);
    if (form & 1) op.reference = b_.values(f32, {9}, reference);
    if (form & 2) op.proximal = b_.values(f32, {9}, anchor);
    // Sequences 0-2 (inside), 3-4 (above: clipped), none, 5-7 (below: only the negative advantage is clipped), 8.
    op.offsets = b_.ints({6}, {0, 3, 5, 5, 8, 9});
    op.advantage = b_.values(f32, {9}, {1, 1, 1, 2, 2, 1, -1, 1, -0.5});
    op.weight = b_.values(f32, {9}, {0.5, 0.25, 0, 1, 0.7, 0.2, 0.3, 0.4, 0.6});
    op.dlogp = b_.out(f32, {9});
    op.kl = 0.3f;
    op.behave_cap = 1.02f;
    op.behave_mask = form == 3;
    const auto evaluate = [&] {
      op.loss = zeros({1});
      op.stats = zeros({6});
      run_op(op);
      return read_values(op.loss)[0];
    };
    evaluate();
    const auto stats = read_values(op.stats);
    EXPECT_EQ(stats[0], 8);
    EXPECT_EQ(stats[1], 3);  // both of the second sequence, one of the fourth
    expect_gradient("logp", op.logp, read_values(op.dlogp), evaluate);
  }
}

// No gradient flows through cispo's ratio: where it is held at a bound it is a constant, and differences agree.
TEST_F(Gradient, of_grpo_loss_cispo) {
  const std::vector<double> logp = {-1, -1, -2, -0.5}, ratio = {0.5, 0.5, -0.6, -0.6};
  std::vector<double> anchor, behaviour;
  for (size_t i = 0; i < logp.size(); ++i) {
    anchor.push_back(logp[i] - ratio[i]);
    behaviour.push_back(anchor.back() - 0.4 + 0.2 * static_cast<double>(i));
  }
  for (const bool decoupled : {false, true}) {
    GrpoLoss op;
    op.logp = b_.inout_values(f32, {4}, logp);
    op.behaviour = b_.values(f32, {4}, decoupled ? behaviour : anchor);
    op.reference = b_.values(f32, {4}, {-1.5, -0.6, -2, -1});
    if (decoupled) op.proximal = b_.values(f32, {4}, anchor);
    op.advantage = b_.values(f32, {4}, {1, -1, 1, -1});
    op.weight = b_.values(f32, {4}, {0.5, 0.25, 1, 0.7});
    op.dlogp = b_.out(f32, {4});
    op.kl = 0.1f;
    op.behave_cap = 1.1f;
    op.cispo = true;
    const auto evaluate = [&] {
      op.loss = zeros({1});
      op.stats = zeros({6});
      run_op(op);
      return read_values(op.loss)[0];
    };
    evaluate();
    EXPECT_EQ(read_values(op.stats)[1], 4) << "all are outside";
    expect_gradient("logp", op.logp, read_values(op.dlogp), evaluate);
  }
}

TEST_F(Gradient, of_nll_loss) {
  const View logp = b_.inout_values(f32, {3}, {-0.5, -2, -1}), weight = b_.values(f32, {3}, {0.5, 0, 2}),
             dlogp = b_.out(f32, {3});
  const auto evaluate = [&] {
    const View loss = zeros({1});
    run_op(NllLoss{logp, weight, dlogp, loss});
    return read_values(loss)[0];
  };
  EXPECT_FLOAT_EQ(static_cast<float>(evaluate()), 2.25f);
  expect_gradient("logp", logp, read_values(dlogp), evaluate);
}

TEST_F(Gradient, of_pair_loss) {
  const View scores = b_.inout_values(f32, {6}, {1, 0.5, -1, 2, 0.2, 0.2}), dscores = b_.out(f32, {6});
  std::vector<double> stats;
  const auto evaluate = [&] {
    const View loss = zeros({1}), counts = zeros({2});
    run_op(PairLoss{scores, dscores, loss, counts, 0.1f, 0.5f});
    stats = read_values(counts);
    return read_values(loss)[0];
  };
  evaluate();
  EXPECT_EQ(stats, (std::vector<double>{1.5, 3}));  // a tie is half a win
  expect_gradient("scores", scores, read_values(dscores), evaluate);
}

}  // namespace
}  // namespace r1::test
