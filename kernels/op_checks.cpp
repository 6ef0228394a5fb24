#include "kernels/op_checks.h"

#include "kernels/delta_format.h"
#include "kernels/op_check_rules.h"

namespace r1 {

void check_op(const Context& ctx, const Embedding& op) {
  check_views(ctx, op);
  const int64_t t = op.ids.shape[0];
  REQUIRE(dense(op.ids, DType::i32, {t}));
  REQUIRE(dense_float(op.table, 2));
  REQUIRE(dense(op.y, op.table.dtype, {t, op.table.shape[1]}));
}

void check_op(const Context& ctx, const EmbeddingBackward& op) {
  check_views(ctx, op);
  const int64_t t = op.ids.shape[0];
  REQUIRE(dense(op.ids, DType::i32, {t}));
  REQUIRE(dense_float(op.dy, 2) && op.dy.shape[0] == t);
  REQUIRE(dense(op.dtable, DType::f32, {op.dtable.shape[0], op.dy.shape[1]}));
}

void check_op(const Context& ctx, const Linear& op) {
  check_views(ctx, op);
  const int64_t t = op.x.shape[0], k = op.x.shape[1], n = op.w.shape[0];
  REQUIRE(is_float(op.x) && op.x.rank == 2);
  REQUIRE(dense(op.w, op.x.dtype, {n, k}));
  REQUIRE(absent_or_dense(op.bias, op.x.dtype, {n}));
  REQUIRE(is_or_f32(op.y, op.x.dtype) && is(op.y, op.y.dtype, {t, n}));
}

void check_op(const Context& ctx, const LinearBackwardInput& op) {
  check_views(ctx, op);
  const int64_t t = op.dy.shape[0], n = op.w.shape[0], k = op.w.shape[1];
  REQUIRE(dense_float(op.w, 2));
  REQUIRE(is_or_f32(op.dy, op.w.dtype) && is(op.dy, op.dy.dtype, {t, n}));
  REQUIRE(is(op.dx, op.w.dtype, {t, k}));
}

void check_op(const Context& ctx, const LinearBackwardWeight& op) {
  check_views(ctx, op);
  const int64_t t = op.dy.shape[0], n = op.dw.shape[0], k = op.x.shape[1];
  REQUIRE(is_float(op.x) && is(op.x, op.x.dtype, {t, k}));
  REQUIRE(is_or_f32(op.dy, op.x.dtype) && is(op.dy, op.dy.dtype, {t, n}));
  REQUIRE(dense(op.dw, DType::f32, {n, k}));
  REQUIRE(absent_or_dense(op.db, DType::f32, {n}));
}

namespace {

// rstd of x: its shape without the last dimension.
bool is_rstd_of(const View& rstd, const View& x) {
  if (rstd.dtype != DType::f32 || rstd.rank != x.rank - 1 || !rstd.contiguous()) return false;
  for (int i = 0; i < rstd.rank; ++i)
    if (rstd.shape[i] != x.shape[i]) return false;
  return true;
}

}  // namespace

void check_op(const Context& ctx, const RmsNorm& op) {
  check_views(ctx, op);
  REQUIRE(is_float(op.x) && (op.x.rank == 2 || op.x.rank == 3));
  REQUIRE(op.y.dtype == op.x.dtype && same_shape(op.y, op.x));
  REQUIRE(dense(op.w, op.x.dtype, {op.x.shape[op.x.rank - 1]}));
  REQUIRE(!op.rstd || is_rstd_of(op.rstd, op.x));
}

void check_op(const Context& ctx, const RmsNormBackward& op) {
  check_views(ctx, op);
  REQUIRE(is_float(op.x) && (op.x.rank == 2 || op.x.rank == 3));
  REQUIRE(op.dy.dtype == op.x.dtype && same_shape(op.dy, op.x));
  REQUIRE(op.dx.dtype == op.x.dtype && same_shape(op.dx, op.x));
  REQUIRE(is_rstd_of(op.rstd, op.x));
  REQUIRE(dense(op.w, op.x.dtype, {op.x.shape[op.x.rank - 1]}));
  REQUIRE(dense(op.dw, DType::f32, {op.x.shape[op.x.rank - 1]}));
}

void check_op(const Context& ctx, const Rope& op) {
  check_views(ctx, op);
  REQUIRE(is_float(op.x) && op.x.rank == 3);
  REQUIRE(dense(op.positions, DType::i32, {op.x.shape[0]}));
  REQUIRE(op.table.rank == 2 && op.table.dtype == DType::f32 && op.table.contiguous());
  REQUIRE(op.table.shape[1] % 2 == 0 && op.table.shape[1] <= op.x.shape[2]);
}

void check_op(const Context& ctx, const SwiGlu& op) {
  check_views(ctx, op);
  REQUIRE(dense_float(op.gate_up, 2) && op.gate_up.shape[1] % 2 == 0);
  REQUIRE(dense(op.y, op.gate_up.dtype, {op.gate_up.shape[0], op.gate_up.shape[1] / 2}));
}

void check_op(const Context& ctx, const SwiGluBackward& op) {
  check_views(ctx, op);
  const int64_t t = op.gate_up.shape[0], f2 = op.gate_up.shape[1];
  REQUIRE(dense_float(op.gate_up, 2) && f2 % 2 == 0);
  REQUIRE(dense(op.dy, op.gate_up.dtype, {t, f2 / 2}));
  REQUIRE(dense(op.dgate_up, op.gate_up.dtype, {t, f2}));
}

void check_op(const Context& ctx, const Add& op) {
  check_views(ctx, op);
  REQUIRE(dense_float(op.a, 2));
  REQUIRE(dense(op.b, op.a.dtype, {op.a.shape[0], op.a.shape[1]}));
  REQUIRE(dense(op.y, op.a.dtype, {op.a.shape[0], op.a.shape[1]}));
}

namespace {

// n dense rows like those of x.
bool are_rows_of(const View& x, const View& rows, int64_t n) {
  return x.rank == 2 ? dense(rows, x.dtype, {n, x.shape[1]}) : dense(rows, x.dtype, {n, x.shape[1], x.shape[2]});
}

}  // namespace

void check_op(const Context& ctx, const GatherRows& op) {
  check_views(ctx, op);
  REQUIRE(is_float(op.x) && (op.x.rank == 2 || op.x.rank == 3));
  REQUIRE(dense(op.rows, DType::i32, {op.rows.shape[0]}));
  REQUIRE(are_rows_of(op.x, op.y, op.rows.shape[0]));
}

void check_op(const Context& ctx, const GatherRowsBackward& op) {
  check_views(ctx, op);
  REQUIRE(is_float(op.dx) && (op.dx.rank == 2 || op.dx.rank == 3));
  REQUIRE(dense(op.rows, DType::i32, {op.rows.shape[0]}));
  REQUIRE(are_rows_of(op.dx, op.dy, op.rows.shape[0]));
}

void check_op(const Context& ctx, const AttentionPacked& op) {
  check_views(ctx, op);
  const int64_t t = op.k.shape[0], n = op.q.shape[0], hq = op.q.shape[1], d = op.q.shape[2], hk = op.k.shape[1],
                dv = op.v.shape[2];
  const DType f = op.q.dtype;
  REQUIRE(is_float(op.q) && op.q.rank == 3);
  REQUIRE(hk > 0 && hq % hk == 0);
  REQUIRE(is(op.k, f, {t, hk, d}));
  REQUIRE(is(op.v, f, {t, hk, dv}));
  REQUIRE(is(op.o, f, {n, hq, dv}));
  REQUIRE(absent_or_dense(op.lse, DType::f32, {n, hq}));
  REQUIRE(op.offsets.shape[0] >= 1 && dense(op.offsets, DType::i32, {op.offsets.shape[0]}));
  REQUIRE(op.query_offsets ? dense(op.query_offsets, DType::i32, {op.offsets.shape[0]}) : n == t);
}

void check_op(const Context& ctx, const AttentionPackedBackward& op) {
  check_views(ctx, op);
  const int64_t t = op.k.shape[0], n = op.q.shape[0], hq = op.q.shape[1], d = op.q.shape[2], hk = op.k.shape[1],
                dv = op.v.shape[2];
  const DType f = op.q.dtype;
  REQUIRE(is_float(op.q) && op.q.rank == 3);
  REQUIRE(hk > 0 && hq % hk == 0);
  REQUIRE(is(op.k, f, {t, hk, d}) && is(op.dk, f, {t, hk, d}));
  REQUIRE(is(op.v, f, {t, hk, dv}) && is(op.dv, f, {t, hk, dv}));
  REQUIRE(is(op.o, f, {n, hq, dv}) && is(op.d_o, f, {n, hq, dv}));
  REQUIRE(is(op.dq, f, {n, hq, d}));
  REQUIRE(dense(op.lse, DType::f32, {n, hq}));
  REQUIRE(op.longest >= 0);
  REQUIRE(op.offsets.shape[0] >= 1 && dense(op.offsets, DType::i32, {op.offsets.shape[0]}));
  REQUIRE(op.query_offsets ? dense(op.query_offsets, DType::i32, {op.offsets.shape[0]}) : n == t);
}

void check_op(const Context& ctx, const KvWrite& op) {
  check_views(ctx, op);
  const int64_t r = op.k.shape[0], hk = op.k.shape[1], d = op.k.shape[2], dv = op.v.shape[2], p = op.k_pages.shape[0];
  const DType f = op.k.dtype;
  REQUIRE(is_float(op.k) && op.k.rank == 3);
  REQUIRE(is(op.v, f, {r, hk, dv}));
  REQUIRE(dense(op.k_pages, f, {p, hk, d, kKeyBlock}));
  REQUIRE(dense(op.v_pages, f, {p, hk, kKeyBlock, dv}));
  REQUIRE(dense(op.page_table, DType::i32, {op.page_table.shape[0], op.page_table.shape[1]}));
  REQUIRE(dense(op.row_seq, DType::i32, {r}) && dense(op.row_pos, DType::i32, {r}));
}

void check_op(const Context& ctx, const AttentionPaged& op) {
  check_views(ctx, op);
  const int64_t r = op.q.shape[0], hq = op.q.shape[1], d = op.q.shape[2];
  const int64_t p = op.k_pages.shape[0], hk = op.k_pages.shape[1], dv = op.v_pages.shape[3];
  const DType f = op.q.dtype;
  REQUIRE(is_float(op.q) && op.q.rank == 3);
  REQUIRE(hk > 0 && hq % hk == 0);
  REQUIRE(dense(op.k_pages, f, {p, hk, d, kKeyBlock}));
  REQUIRE(dense(op.v_pages, f, {p, hk, kKeyBlock, dv}));
  REQUIRE(is(op.o, f, {r, hq, dv}));
  REQUIRE(dense(op.page_table, DType::i32, {op.page_table.shape[0], op.page_table.shape[1]}));
  REQUIRE(dense(op.row_seq, DType::i32, {r}) && dense(op.row_pos, DType::i32, {r}));
}

void check_op(const Context& ctx, const LogProb& op) {
  check_views(ctx, op);
  const int64_t t = op.logits.shape[0];
  REQUIRE(dense_float(op.logits, 2) && op.logits.shape[1] >= 1);
  REQUIRE(dense(op.targets, DType::i32, {t}));
  REQUIRE(dense(op.logp, DType::f32, {t}) && dense(op.lse, DType::f32, {t}));
  REQUIRE(absent_or_dense(op.entropy, DType::f32, {t}));
  REQUIRE(op.temperature > 0);
}

void check_op(const Context& ctx, const LogProbBackward& op) {
  check_views(ctx, op);
  const int64_t t = op.logits.shape[0];
  REQUIRE(dense_float(op.logits, 2) && op.logits.shape[1] >= 1);
  REQUIRE(dense(op.targets, DType::i32, {t}));
  REQUIRE(dense(op.lse, DType::f32, {t}) && dense(op.dlogp, DType::f32, {t}));
  REQUIRE(dense(op.dlogits, op.logits.dtype, {t, op.logits.shape[1]}));
  REQUIRE(op.temperature > 0);
}

void check_op(const Context& ctx, const Sample& op) {
  check_views(ctx, op);
  const int64_t r = op.logits.shape[0];
  REQUIRE(dense_float(op.logits, 2) && op.logits.shape[1] >= 1);
  REQUIRE(dense(op.keys, DType::i64, {r}));
  REQUIRE(dense(op.positions, DType::i32, {r}) && dense(op.temperature, DType::f32, {r}));
  REQUIRE(dense(op.token, DType::i32, {r}) && dense(op.logp, DType::f32, {r}));
  REQUIRE(absent_or_dense(op.entropy, DType::f32, {r}));
  REQUIRE(op.top_k >= 0 && op.top_p > 0 && op.top_p <= 1);
}

void check_op(const Context& ctx, const GrpoLoss& op) {
  check_views(ctx, op);
  const int64_t t = op.logp.shape[0];
  REQUIRE(dense(op.logp, DType::f32, {t}) && dense(op.behaviour, DType::f32, {t}));
  REQUIRE(absent_or_dense(op.reference, DType::f32, {t}) && absent_or_dense(op.proximal, DType::f32, {t}));
  REQUIRE(dense(op.advantage, DType::f32, {t}) && dense(op.weight, DType::f32, {t}));
  REQUIRE(absent_or_dense(op.offsets, DType::i32, {op.offsets.size()}));
  REQUIRE(!op.offsets || (op.offsets.size() >= 1 && !op.cispo));
  REQUIRE(dense(op.dlogp, DType::f32, {t}));
  REQUIRE(dense(op.loss, DType::f32, {1}) && dense(op.stats, DType::f32, {6}));
}

void check_op(const Context& ctx, const NllLoss& op) {
  check_views(ctx, op);
  const int64_t t = op.logp.shape[0];
  REQUIRE(dense(op.logp, DType::f32, {t}) && dense(op.weight, DType::f32, {t}) && dense(op.dlogp, DType::f32, {t}));
  REQUIRE(dense(op.loss, DType::f32, {1}));
}

void check_op(const Context& ctx, const PairLoss& op) {
  check_views(ctx, op);
  const int64_t n = op.scores.shape[0];
  REQUIRE(n % 2 == 0);
  REQUIRE(dense(op.scores, DType::f32, {n}) || dense(op.scores, DType::f32, {n, 1}));
  REQUIRE(dense(op.dscores, DType::f32, {n}) || dense(op.dscores, DType::f32, {n, 1}));
  REQUIRE(dense(op.loss, DType::f32, {1}) && dense(op.stats, DType::f32, {2}));
}

void check_op(const Context& ctx, const Fill& op) {
  check_views(ctx, op);
  REQUIRE(op.x.contiguous());
}

void check_op(const Context& ctx, const Copy& op) {
  check_views(ctx, op);
  REQUIRE(same_shape(op.src, op.dst));
  REQUIRE(op.src.dtype == op.dst.dtype || (is_float(op.src) && is_float(op.dst)));
}

void check_op(const Context& ctx, const Axpby& op) {
  check_views(ctx, op);
  REQUIRE(op.x.dtype == DType::f32 && op.y.dtype == DType::f32);
  REQUIRE(op.x.contiguous() && op.y.contiguous() && op.x.size() == op.y.size());
}

void check_op(const Context& ctx, const SumSquares& op) {
  check_views(ctx, op);
  REQUIRE(op.x.dtype == DType::f32 && op.x.contiguous());
  REQUIRE(dense(op.out, DType::f32, {1}));
}

void check_op(const Context& ctx, const Gemm& op) {
  check_views(ctx, op);
  REQUIRE(op.a.rank == 2 && op.b.rank == 2);
  const int64_t m = op.a.shape[op.trans_a ? 1 : 0], k = op.a.shape[op.trans_a ? 0 : 1], n = op.b.shape[op.trans_b ? 0 : 1];
  REQUIRE(op.a.dtype == DType::f32 && op.b.dtype == DType::f32);
  REQUIRE(op.b.shape[op.trans_b ? 1 : 0] == k);
  REQUIRE(is(op.c, DType::f32, {m, n}));
}

void check_op(const Context& ctx, const AdamW& op) {
  check_views(ctx, op);
  const int64_t n = op.master.size();
  for (const View* v : {&op.master, &op.grad, &op.m, &op.v})
    REQUIRE(v->dtype == DType::f32 && v->contiguous() && v->size() == n);
  REQUIRE(!op.weights || (is_float(op.weights) && op.weights.contiguous() && op.weights.size() == n));
  REQUIRE(!op.ranges || dense(op.ranges, DType::i64, {op.ranges.shape[0], 3}));
  REQUIRE(op.step >= 1);
}

void check_op(const Context& ctx, const ScaleByNorm& op) {
  check_views(ctx, op);
  REQUIRE(op.x.dtype == DType::f32 && op.x.contiguous());
  REQUIRE(dense(op.square, DType::f32, {1}));
}

void check_op(const Context& ctx, const HashSpans& op) {
  check_views(ctx, op);
  const int64_t c = op.spans.shape[0];
  REQUIRE(dense_float(op.x, 1));
  REQUIRE(dense(op.spans, DType::i64, {c, 2}) && dense(op.hashes, DType::i64, {c, 2}));
  REQUIRE(absent_or_dense(op.not_finite, DType::i64, {c}));
}

namespace {

bool is_codes_of(const View& codes, const View& values) {
  return dense(codes, DType::i32, {(values.size() + kDeltaChunk - 1) / kDeltaChunk, 2});
}

}  // namespace

void check_op(const Context& ctx, const DeltaMeasure& op) {
  check_views(ctx, op);
  REQUIRE(dense_float(op.next, 1) && absent_or_dense(op.previous, op.next.dtype, {op.next.size()}));
  REQUIRE(is_codes_of(op.codes, op.next));
}

void check_op(const Context& ctx, const DeltaEncode& op) {
  check_views(ctx, op);
  REQUIRE(dense_float(op.next, 1) && absent_or_dense(op.previous, op.next.dtype, {op.next.size()}));
  REQUIRE(is_codes_of(op.codes, op.next));
  REQUIRE(dense(op.payload, DType::i32, {op.payload.size()}));
  REQUIRE(absent_or_dense(op.sums, DType::i64, {op.codes.shape[0], 2}) && op.first >= 0);
}

void check_op(const Context& ctx, const DeltaApply& op) {
  check_views(ctx, op);
  REQUIRE(dense_float(op.values, 1) && is_codes_of(op.codes, op.values));
  REQUIRE(dense(op.payload, DType::i32, {op.payload.size()}));
  REQUIRE(dense(op.status, DType::i32, {op.codes.shape[0]}));
  REQUIRE(absent_or_dense(op.sums, DType::i64, {op.codes.shape[0], 2}) && op.first >= 0);
}

}  // namespace r1
