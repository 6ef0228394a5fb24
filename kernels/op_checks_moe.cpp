// Checks of the ops of latent attention and of mixtures of experts.
#include "kernels/op_checks.h"

#include "kernels/op_check_rules.h"

namespace r1 {

void check_op(const Context& ctx, const MlaKeys& op) {
  check_views(ctx, op);
  REQUIRE(is_float(op.k) && op.k.rank == 3 && op.kv.rank == 3 && op.kr.rank == 2);
  const int64_t t = op.k.shape[0], heads = op.k.shape[1], rotary = op.kr.shape[1], plain = op.k.shape[2] - rotary;
  REQUIRE(plain >= 0 && plain <= op.kv.shape[2]);
  REQUIRE(is(op.kv, op.k.dtype, {t, heads, op.kv.shape[2]}));
  REQUIRE(is(op.kr, op.k.dtype, {t, rotary}));
}

void check_op(const Context& ctx, const MlaKeysBackward& op) {
  check_views(ctx, op);
  REQUIRE(is_float(op.dk) && op.dk.rank == 3 && op.dkv.rank == 3 && op.dkr.rank == 2);
  const int64_t t = op.dk.shape[0], heads = op.dk.shape[1], rotary = op.dkr.shape[1], plain = op.dk.shape[2] - rotary;
  REQUIRE(plain >= 0 && plain <= op.dkv.shape[2]);
  REQUIRE(is(op.dkv, op.dk.dtype, {t, heads, op.dkv.shape[2]}));
  REQUIRE(is(op.dkr, op.dk.dtype, {t, rotary}));
}

void check_op(const Context& ctx, const MoeRoute& op) {
  check_views(ctx, op);
  const int64_t t = op.logits.shape[0], e = op.logits.shape[1], k = op.experts.shape[1];
  REQUIRE(dense(op.logits, DType::f32, {t, e}));
  REQUIRE(absent_or_dense(op.bias, DType::f32, {e}));
  REQUIRE(dense(op.scores, DType::f32, {t, e}));
  REQUIRE(dense(op.experts, DType::i32, {t, k}));
  REQUIRE(dense(op.weights, DType::f32, {t, k}));
  REQUIRE(op.groups >= 1 && e % op.groups == 0 && op.top_groups >= 1 && op.top_groups <= op.groups);
  REQUIRE(k >= 1 && k <= e / op.groups * op.top_groups);
}

void check_op(const Context& ctx, const MoeRouteBackward& op) {
  check_views(ctx, op);
  const int64_t t = op.scores.shape[0], e = op.scores.shape[1], k = op.experts.shape[1];
  REQUIRE(dense(op.scores, DType::f32, {t, e}));
  REQUIRE(dense(op.experts, DType::i32, {t, k}));
  REQUIRE(dense(op.dweights, DType::f32, {t, k}));
  REQUIRE(absent_or_dense(op.dscores, DType::f32, {t, e}));
  REQUIRE(dense(op.dlogits, DType::f32, {t, e}));
}

void check_op(const Context& ctx, const MoeBalanceLoss& op) {
  check_views(ctx, op);
  const int64_t t = op.scores.shape[0], e = op.scores.shape[1];
  REQUIRE(dense(op.scores, DType::f32, {t, e}));
  REQUIRE(op.offsets.shape[0] >= 1 && dense(op.offsets, DType::i32, {op.offsets.shape[0]}));
  REQUIRE(dense(op.dscores, DType::f32, {t, e}));
  REQUIRE(dense(op.loss, DType::f32, {1}));
  REQUIRE(op.k >= 1 && op.k <= e);
}

void check_op(const Context& ctx, const MoeSort& op) {
  check_views(ctx, op);
  const int64_t t = op.experts.shape[0], k = op.experts.shape[1];
  REQUIRE(dense(op.experts, DType::i32, {t, k}));
  REQUIRE(dense(op.slots, DType::i32, {t * k}));
  REQUIRE(dense(op.places, DType::i32, {t, k}));
  REQUIRE(op.offsets.shape[0] >= 2 && dense(op.offsets, DType::i32, {op.offsets.shape[0]}));
}

void check_op(const Context& ctx, const MoeLoad& op) {
  check_views(ctx, op);
  const int64_t e = op.load.shape[0];
  REQUIRE(dense(op.offsets, DType::i32, {e + 1}));
  REQUIRE(dense(op.load, DType::f32, {e}));
}

void check_op(const Context& ctx, const MoeBiasUpdate& op) {
  check_views(ctx, op);
  const int64_t e = op.bias.shape[0];
  REQUIRE(dense(op.bias, DType::f32, {e}));
  REQUIRE(dense(op.load, DType::f32, {e}));
}

void check_op(const Context& ctx, const GroupedLinear& op) {
  check_views(ctx, op);
  REQUIRE(dense_float(op.w, 3) && op.y.rank == 2 && op.x.rank == 2);
  const int64_t e = op.w.shape[0], n = op.w.shape[1], k = op.w.shape[2], m = op.y.shape[0];
  REQUIRE(dense(op.y, op.w.dtype, {m, n}));
  REQUIRE(op.copies >= 1 && is(op.x, op.w.dtype, {op.slots ? m / op.copies : m, k}));
  REQUIRE(dense(op.offsets, DType::i32, {e + 1}));
  REQUIRE(absent_or_dense(op.slots, DType::i32, {m}));
}

void check_op(const Context& ctx, const GroupedLinearBackwardInput& op) {
  check_views(ctx, op);
  REQUIRE(dense_float(op.w, 3) && op.dy.rank == 2);
  const int64_t e = op.w.shape[0], n = op.w.shape[1], k = op.w.shape[2], m = op.dy.shape[0];
  REQUIRE(dense(op.dy, op.w.dtype, {m, n}));
  REQUIRE(dense(op.dx, op.w.dtype, {m, k}));
  REQUIRE(dense(op.offsets, DType::i32, {e + 1}));
}

void check_op(const Context& ctx, const GroupedLinearBackwardWeight& op) {
  check_views(ctx, op);
  REQUIRE(op.dw.rank == 3 && op.dw.dtype == DType::f32 && op.dw.contiguous());
  REQUIRE(dense_float(op.dy, 2) && op.x.rank == 2);
  const int64_t e = op.dw.shape[0], n = op.dw.shape[1], k = op.dw.shape[2], m = op.dy.shape[0];
  REQUIRE(op.dy.shape[1] == n);
  REQUIRE(op.copies >= 1 && is(op.x, op.dy.dtype, {op.slots ? m / op.copies : m, k}));
  REQUIRE(dense(op.offsets, DType::i32, {e + 1}));
  REQUIRE(absent_or_dense(op.slots, DType::i32, {m}));
}

void check_op(const Context& ctx, const MoeCombine& op) {
  check_views(ctx, op);
  const int64_t t = op.places.shape[0], k = op.places.shape[1], d = op.y.shape[1];
  REQUIRE(op.z.rank == 2 && dense_float(op.y, 2) && op.y.shape[0] == t);
  REQUIRE(dense(op.z, op.y.dtype, {op.z.shape[0], d}));
  REQUIRE(dense(op.places, DType::i32, {t, k}));
  REQUIRE(absent_or_dense(op.weights, DType::f32, {t, k}));
}

void check_op(const Context& ctx, const MoeCombineBackward& op) {
  check_views(ctx, op);
  const int64_t t = op.places.shape[0], k = op.places.shape[1], d = op.dy.shape[1];
  REQUIRE(dense_float(op.dy, 2) && op.dy.shape[0] == t);
  REQUIRE(dense(op.z, op.dy.dtype, {t * k, d}));
  REQUIRE(dense(op.dz, op.dy.dtype, {t * k, d}));
  REQUIRE(dense(op.places, DType::i32, {t, k}));
  REQUIRE(absent_or_dense(op.weights, DType::f32, {t, k}));
  REQUIRE(absent_or_dense(op.dweights, DType::f32, {t, k}));
}

}  // namespace r1
