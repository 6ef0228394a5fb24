// Gradients of mixtures of experts.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/kernels/gradient_fixture.h"

namespace r1::test {
namespace {

TEST_F(Gradient, of_mla_keys) {
  const View kv = b_.inout(f32, {3, 2, 7}), kr = b_.inout(f32, {3, 4}), k = b_.out(f32, {3, 2, 7});
  const auto p = probe(k);
  const View dkv = zeros({3, 2, 7}), dkr = b_.out(f32, {3, 4});
  run_op(MlaKeysBackward{given(k, p), dkv, dkr});
  const auto loss = [&] {
    run_op(MlaKeys{kv, kr, k});
    return dot(p, read_values(k));
  };
  const auto claimed_kv = read_values(dkv), claimed_kr = read_values(dkr);
  expect_gradient("kv", kv, claimed_kv, loss);
  expect_gradient("kr", kr, claimed_kr, loss);
}

TEST_F(Gradient, of_moe_route) {
  for (const bool softmax : {false, true}) {
    for (const bool normalize : {false, true}) {
      // Far enough apart that the steps of the check change no selection.
      const View logits = b_.inout_values(f32, {2, 6}, {-1.5, -0.9, -0.3, 0.3, 0.9, 1.5, 1.2, -1.2, 0.6, -0.6, 0, 1.8});
      const View scores = b_.out(f32, {2, 6}), experts = b_.out(DType::i32, {2, 3}), weights = b_.out(f32, {2, 3});
      const MoeRoute forward{logits, View{}, scores, experts, weights, 1, 1, softmax, normalize, 2.5f};
      const auto p = probe(weights), q = probe(scores);
      run_op(forward);
      const View dlogits = b_.out(f32, {2, 6});
      run_op(MoeRouteBackward{scores, experts, given(weights, p), given(scores, q), dlogits, softmax, normalize, 2.5f});
      const auto claimed = read_values(dlogits);
      expect_gradient(softmax ? "softmax logits" : "sigmoid logits", logits, claimed, [&] {
        run_op(forward);
        return dot(p, read_values(weights)) + dot(q, read_values(scores));
      });
    }
  }
}

TEST_F(Gradient, of_moe_balance_loss) {
  const View scores =
      b_.inout_values(f32, {5, 4}, {.1, .9, .3, .6, .8, .2, .5, .35, .15, .4, .7, .95, .3, .5, .8, .1, .9, .6, .2, .4});
  const View offsets = b_.ints({3}, {0, 2, 5}), dscores = b_.out(f32, {5, 4}), loss = b_.inout_values(f32, {1}, {0});
  const MoeBalanceLoss op{scores, offsets, dscores, loss, 2, 0.7f};
  run_op(op);
  const auto claimed = read_values(dscores);
  expect_gradient("scores", scores, claimed, [&] {
    run_op(Fill{loss, 0});
    run_op(op);
    return read_values(loss)[0];
  });
}

TEST_F(Gradient, of_grouped_linear) {
  // Three tokens to two of four experts each; the third expert gets none.
  const View slots = b_.ints({6}, {0, 3, 1, 4, 2, 5}), offsets = b_.ints({5}, {0, 2, 4, 4, 6});
  const View x = b_.inout(f32, {3, 5}), w = b_.inout(f32, {4, 3, 5}), y = b_.out(f32, {6, 3});
  const auto p = probe(y);
  const View dy = given(y, p), dx = b_.out(f32, {6, 5}), dw = zeros({4, 3, 5});
  run_op(GroupedLinearBackwardInput{dy, w, offsets, dx});
  run_op(GroupedLinearBackwardWeight{dy, x, offsets, slots, dw, 2});
  const auto loss = [&] {
    run_op(GroupedLinear{x, w, offsets, slots, y, 2});
    return dot(p, read_values(y));
  };
  const auto claimed_w = read_values(dw), per_place = read_values(dx);
  std::vector<double> claimed_x(15, 0.0);
  for (int n = 0; n < 6; ++n)
    for (int k = 0; k < 5; ++k)
      claimed_x[static_cast<size_t>(std::vector<int>{0, 3, 1, 4, 2, 5}[n] / 2 * 5 + k)] += per_place[n * 5 + k];
  expect_gradient("x", x, claimed_x, loss);
  expect_gradient("w", w, claimed_w, loss);
}

TEST_F(Gradient, of_moe_combine) {
  const View z = b_.inout(f32, {6, 4}), places = b_.ints({3, 2}, {5, 0, 2, 1, 3, 4}), weights = b_.inout(f32, {3, 2}),
             y = b_.out(f32, {3, 4});
  const auto p = probe(y);
  const View dz = b_.out(f32, {6, 4}), dweights = b_.out(f32, {3, 2});
  run_op(MoeCombineBackward{given(y, p), z, places, weights, dz, dweights});
  const auto loss = [&] {
    run_op(MoeCombine{z, places, weights, y});
    return dot(p, read_values(y));
  };
  const auto claimed_z = read_values(dz), claimed_w = read_values(dweights);
  expect_gradient("z", z, claimed_z, loss);
  expect_gradient("weights", weights, claimed_w, loss);
}

}  // namespace
}  // namespace r1::test
