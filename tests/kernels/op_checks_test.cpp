// run() stops at the first wrong shape, type, stride, device or alias and prints the op with all its views.
#include <gtest/gtest.h>

#include "tests/kernels/buffers.h"

namespace r1::test {
namespace {

constexpr DType f32 = DType::f32, bf16 = DType::bf16;

class OpChecks : public testing::Test {
 protected:
  Device& device_ = open_device("reference");
  Context ctx_{device_};
  Buffers b_{device_, 3};

  Linear linear() { return {b_.in(f32, {4, 6}), b_.in(f32, {5, 6}), {}, b_.out(f32, {4, 5})}; }
};

TEST_F(OpChecks, a_wrong_shape_prints_the_op) {
  Linear op = linear();
  op.w = b_.in(f32, {5, 7});
  EXPECT_DEATH(run(ctx_, op), "Linear x=f32\\[4, 6\\] w=f32\\[5, 7\\] bias=absent y=f32\\[4, 5\\]");
}

TEST_F(OpChecks, wrong_types_strides_ranks_and_missing_views_die) {
  Linear op = linear();
  op.w = b_.in(bf16, {5, 6});
  EXPECT_DEATH(run(ctx_, op), "Linear");
  op = linear();
  op.y = b_.out(bf16, {4, 5});
  EXPECT_DEATH(run(ctx_, op), "Linear") << "f32 in, bf16 out is not offered";
  op = linear();
  op.y = {};
  EXPECT_DEATH(run(ctx_, op), "info.optional.*at y of Linear");
  op = linear();
  op.w = b_.in(f32, {5, 6}, {.gap = 2});
  EXPECT_DEATH(run(ctx_, op), "Linear") << "weights are contiguous";
  op = linear();
  op.x.stride[1] = 2;
  EXPECT_DEATH(run(ctx_, op), "at x of Linear");
  op = linear();
  op.bias = b_.in(f32, {4});
  EXPECT_DEATH(run(ctx_, op), "bias=f32\\[4\\]");
}

TEST_F(OpChecks, outputs_over_inputs_die_unless_the_op_allows_the_same_view) {
  const View x = b_.inout(f32, {4, 6}), w = b_.in(f32, {6});
  run(ctx_, RmsNorm{x, w, x, {}, 1e-6f});
  EXPECT_DEATH(run(ctx_, SwiGlu{x, x.reshape({24}).slice(0, 12).reshape({4, 3})}), "may_alias");
  const View y = b_.inout(f32, {8, 6});
  run(ctx_, Add{y.slice(0, 4), x, y.slice(0, 4)});
  EXPECT_DEATH(run(ctx_, Add{y.slice(0, 4), x, y.slice(1, 5)}), "may_alias") << "shifted by a row";
  EXPECT_DEATH(run(ctx_, Copy{y, y}), "may_alias");
  // Columns of one matrix lie inside each other's extent but do not overlap.
  run(ctx_, RmsNorm{y.columns(0, 3), b_.in(f32, {3}), y.columns(3, 6), {}, 1e-6f});
}

TEST_F(OpChecks, attention_heads_must_divide) {
  AttentionPacked op{
      b_.in(f32, {3, 4, 8}), b_.in(f32, {3, 3, 8}), b_.in(f32, {3, 3, 8}), b_.out(f32, {3, 4, 8}), {}, b_.ints({2}, {0, 3}), 1};
  EXPECT_DEATH(run(ctx_, op), "hq % hk == 0");
}

TEST_F(OpChecks, the_reference_checks_indices_inside_tensors) {
  const View table = b_.in(f32, {5, 2}), y = b_.out(f32, {2, 2});
  EXPECT_DEATH(run(ctx_, Embedding{b_.ints({2}, {0, 5}), table, y}), "token id 5 outside \\[0, 5\\)");
  EXPECT_DEATH(run(ctx_, Embedding{b_.ints({2}, {-1, 0}), table, y}), "token id -1");
  AttentionPacked op{
      b_.in(f32, {3, 1, 8}), b_.in(f32, {3, 1, 8}), b_.in(f32, {3, 1, 8}), b_.out(f32, {3, 1, 8}), {}, b_.ints({2}, {0, 2}), 1};
  EXPECT_DEATH(run(ctx_, op), "offsets run from 0 to 2 of 3 rows");
  const auto in = [&] { return b_.in(f32, {3, 1, 8}); };
  const auto out = [&] { return b_.out(f32, {3, 1, 8}); };
  const AttentionPackedBackward backward{
      in(), in(), in(), in(), b_.in(f32, {3, 1}), in(), out(), out(), out(), b_.ints({2}, {0, 3}), 1, 2};
  EXPECT_DEATH(run(ctx_, backward), "a sequence is longer than the longest");
}

TEST_F(OpChecks, sequences_of_a_policy_loss_cover_its_rows_and_exclude_cispo) {
  GrpoLoss op;
  for (View* v : {&op.logp, &op.behaviour, &op.advantage, &op.weight}) *v = b_.in(f32, {3});
  op.dlogp = b_.out(f32, {3});
  op.loss = b_.inout(f32, {1});
  op.stats = b_.inout(f32, {6});
  op.offsets = b_.ints({3}, {0, 2, 3});
  run(ctx_, op);
  op.cispo = true;
  EXPECT_DEATH(run(ctx_, op), "!op.cispo");
  op.cispo = false;
  op.offsets = b_.ints({3}, {0, 1, 2});
  EXPECT_DEATH(run(ctx_, op), "offsets run from 0 to 2 of 3 rows");
}

TEST_F(OpChecks, no_rows_do_nothing) {
  const View dw = b_.inout(f32, {5, 6});
  const auto before = read_values(dw);
  run(ctx_, LinearBackwardWeight{b_.in(f32, {0, 5}), b_.in(f32, {0, 6}), dw, {}});
  EXPECT_EQ(read_values(dw), before);
  const View out = b_.inout(f32, {1});
  run(ctx_, SumSquares{b_.in(f32, {0}), out});
  EXPECT_EQ(read_values(out)[0], 0) << "a sum over nothing is 0, not what was there";
}

}  // namespace
}  // namespace r1::test
