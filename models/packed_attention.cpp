#include "models/packed_attention.h"

namespace r1 {

View like_seen(Context& ctx, const PackedAttention& packed, const View& x) {
  if (!packed.seen) return x;
  const int64_t n = packed.seen.rows();
  return x.rank == 3 ? ctx.arena.alloc(x.dtype, {n, x.shape[1], x.shape[2]}) : ctx.arena.alloc(x.dtype, {n, x.shape[1]});
}

View as_seen(Context& ctx, const PackedAttention& packed, const View& x) {
  const View y = like_seen(ctx, packed, x);
  if (packed.seen) run(ctx, GatherRows{x, packed.seen, y});
  return y;
}

void sum_seen(Context& ctx, const PackedAttention& packed, const View& d_seen, const View& d) {
  if (packed.seen) run(ctx, GatherRowsBackward{packed.seen, d_seen, d, false});
}

void packed_attention(Context& ctx, const PackedAttention& packed, AttentionPacked op) {
  const Arena::Mark mark = ctx.arena.mark();
  op.offsets = packed.offsets;
  op.query_offsets = packed.own;
  op.k = as_seen(ctx, packed, op.k);
  op.v = as_seen(ctx, packed, op.v);
  run(ctx, op);
  ctx.arena.release(mark);
}

void packed_attention_backward(Context& ctx, const PackedAttention& packed, AttentionPackedBackward op) {
  const Arena::Mark mark = ctx.arena.mark();
  const View dk = op.dk, dv = op.dv;
  op.offsets = packed.offsets;
  op.query_offsets = packed.own;
  op.longest = packed.longest;
  op.k = as_seen(ctx, packed, op.k);
  op.v = as_seen(ctx, packed, op.v);
  op.dk = like_seen(ctx, packed, dk);
  op.dv = like_seen(ctx, packed, dv);
  run(ctx, op);
  sum_seen(ctx, packed, op.dk, dk);
  sum_seen(ctx, packed, op.dv, dv);
  ctx.arena.release(mark);
}

}  // namespace r1
