#include "models/packed_attention.h"

namespace r1 {
namespace {

View like_seen(Context& ctx, const PackedAttention& packed, const View& x) {
  const int64_t n = packed.seen.rows();
  return x.rank == 3 ? ctx.arena.alloc(x.dtype, {n, x.shape[1], x.shape[2]}) : ctx.arena.alloc(x.dtype, {n, x.shape[1]});
}

}  // namespace

View as_seen(Context& ctx, const PackedAttention& packed, const View& x) {
  const View y = like_seen(ctx, packed, x);
  run(ctx, GatherRows{x, packed.seen, y});
  return y;
}

void sum_seen(Context& ctx, const PackedAttention& packed, const View& d_seen, const View& d) {
  run(ctx, GatherRowsBackward{packed.seen, d_seen, d, false});
}

void packed_attention(Context& ctx, const PackedAttention& packed, AttentionPacked op) {
  op.offsets = packed.offsets;
  if (!packed.seen) return run(ctx, op);
  const Arena::Mark mark = ctx.arena.mark();
  AttentionPacked whole = op;
  for (View* v : {&whole.q, &whole.k, &whole.v}) *v = as_seen(ctx, packed, *v);
  whole.o = like_seen(ctx, packed, op.o);
  if (op.lse) whole.lse = like_seen(ctx, packed, op.lse);
  run(ctx, whole);
  run(ctx, GatherRows{whole.o, packed.first, op.o});
  if (op.lse) run(ctx, GatherRows{whole.lse, packed.first, op.lse});
  ctx.arena.release(mark);
}

void packed_attention_backward(Context& ctx, const PackedAttention& packed, AttentionPackedBackward op) {
  op.offsets = packed.offsets;
  op.longest = packed.longest;
  if (!packed.seen) return run(ctx, op);
  const Arena::Mark mark = ctx.arena.mark();
  AttentionPackedBackward whole = op;
  for (View* v : {&whole.q, &whole.k, &whole.v, &whole.o, &whole.lse}) *v = as_seen(ctx, packed, *v);
  // The output of a shared row was read once.
  whole.d_o = like_seen(ctx, packed, op.d_o);
  run(ctx, GatherRowsBackward{packed.first, op.d_o, whole.d_o, false});
  for (View* v : {&whole.dq, &whole.dk, &whole.dv}) *v = like_seen(ctx, packed, *v);
  run(ctx, whole);
  sum_seen(ctx, packed, whole.dq, op.dq);
  sum_seen(ctx, packed, whole.dk, op.dk);
  sum_seen(ctx, packed, whole.dv, op.dv);
  ctx.arena.release(mark);
}

}  // namespace r1
